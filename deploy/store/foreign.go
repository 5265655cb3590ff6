package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// Foreign is what etcd holds of a foreign deploy, which is mgmt's own. Nothing vouches for it.
type Foreign struct {
	Payload *mgmt.Payload
	Root    *mgmt.File // what the superblock lists; without children if there is none
}

// Foreign reads payload and superblock of a deploy without a record: a fault.Corrupt if mgmt could not read them.
func (c *Chain) Foreign(ctx context.Context, d *record.Deploy) (*Foreign, error) {
	key := c.DeployKey(d.ID, record.KeyPayload)
	value, err := c.foreignValue(ctx, key)
	if err != nil {
		return nil, err
	}
	f := &Foreign{Root: &mgmt.File{}}
	if f.Payload, err = mgmt.DecodePayload(value); err != nil {
		return nil, record.Corrupt(key, err.Error())
	}
	if !f.Payload.HasFiles() {
		return f, nil
	}
	key = string(c.ns) + f.Payload.SuperblockPath()
	if value, err = c.foreignValue(ctx, key); err != nil {
		return nil, err
	}
	if f.Root, err = mgmt.DecodeSuperblock(value); err != nil {
		return nil, record.Corrupt(key, err.Error())
	}
	return f, nil
}

func (c *Chain) foreignValue(ctx context.Context, key string) ([]byte, error) {
	values, err := c.Values(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case values[0].Revision == 0:
		return nil, record.Missing(key)
	}
	return values[0].Value, nil
}

// root is a deploy's root. The tree of a foreign deploy is made of its superblock, as git would have it in the format of
// the deploy's hash: its nodes are known then, and all of its contents were read once.
func (n *Nodes) root(ctx context.Context, d *record.Deploy) (tree.Entry, error) {
	if d.Record != nil {
		return d.Record.Root(), nil
	}
	format := d.Hash.OID().Format()
	var contents map[tree.SHA256]tree.Entry
	f, err := n.chain.Foreign(ctx, d)
	if err == nil {
		contents, err = n.chain.foreignContents(ctx, format, f.Root)
	}
	if err != nil {
		return tree.Entry{}, fmt.Errorf("it is foreign: %w", err)
	}
	root, err := n.addForeign(ctx, format, f.Root, contents)
	if err != nil {
		what := fmt.Sprintf("mgmt may run it, and refship makes no tree of it: %v", err)
		return root, record.Corrupt(string(n.chain.ns)+f.Payload.SuperblockPath(), what)
	}
	return root, nil
}

// foreignAtOnce is how many contents of unknown size are read together: mgmt's own etcd takes 1.5 MiB of each.
const foreignAtOnce = 8

// foreignContents reads what a superblock names, each content once, and gives oid and size.
func (c *Chain) foreignContents(
	ctx context.Context, format tree.Format, root *mgmt.File,
) (map[tree.SHA256]tree.Entry, error) {
	nothing := tree.NewContentHash(format, 0)
	known := map[tree.SHA256]tree.Entry{nothing.SHA256(): {OID: nothing.OID()}} // it need not be there
	var sums []tree.SHA256
	var collect func(f *mgmt.File)
	collect = func(f *mgmt.File) {
		if _, ok := known[f.SHA256]; !ok && !f.Mode.IsDir() {
			known[f.SHA256] = tree.Entry{}
			sums = append(sums, f.SHA256)
		}
		for _, child := range f.Children {
			collect(child)
		}
	}
	for _, child := range root.Children {
		collect(child)
	}
	for batch := range slices.Chunk(sums, foreignAtOnce) {
		keys := make([]string, len(batch))
		for i, sum := range batch {
			keys[i] = c.ContentKey(sum)
		}
		values, err := c.Values(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i, sum := range batch {
			value := values[i].Value
			switch {
			case values[i].Revision == 0:
				return nil, record.Missing(keys[i])
			case sha256.Sum256(value) != sum:
				return nil, record.Corrupt(keys[i], "the content does not match")
			}
			hash := tree.NewContentHash(format, int64(len(value)))
			_, _ = hash.Write(value) // a hash never fails
			known[sum] = tree.Entry{OID: hash.OID(), Size: int64(len(value))}
		}
	}
	return known, nil
}

// addForeign makes nodes of a superblock's directory and of those below known. mgmt writes a link as a file that has a
// link's mode and the content that it leads to.
func (n *Nodes) addForeign(
	ctx context.Context, format tree.Format, dir *mgmt.File, contents map[tree.SHA256]tree.Entry,
) (tree.Entry, error) {
	node := &tree.Node{}
	for _, f := range dir.Children {
		e, err := contents[f.SHA256], error(nil)
		switch {
		case f.Mode.IsDir():
			e, err = n.addForeign(ctx, format, f, contents)
		case f.Mode.IsRegular() && f.Mode&0o100 != 0:
			e.Mode, e.SHA256 = filemode.Executable, f.SHA256
		default:
			e.Mode, e.SHA256 = filemode.Regular, f.SHA256
		}
		if err != nil {
			return e, err
		}
		e.Name = f.Name
		node.Entries = append(node.Entries, e)
	}
	slices.SortFunc(node.Entries, func(a, b tree.Entry) int { return strings.Compare(sortKey(&a), sortKey(&b)) })
	if err := node.Check(); err != nil {
		return tree.Entry{}, err
	}
	text, oid := node.Text(), node.OID(format)
	if err := n.take(ctx, nodeMemory+tree.NodeMemory(text)); err != nil {
		return tree.Entry{}, err
	}
	n.Add(oid, node, text)
	return n.Entry(oid), nil
}

// foreignContent writes a file's content, which mgmt has in one piece. It was found to be what its entry names when the
// tree was read, and is compared again.
func (c *Chain) foreignContent(ctx context.Context, e tree.Entry, w io.Writer) error {
	if e.Size == 0 {
		return nil
	}
	value, err := c.foreignValue(ctx, c.ContentKey(e.SHA256))
	if err != nil {
		return err
	}
	sum := tree.NewContentHash(e.OID.Format(), int64(len(value)))
	_, _ = sum.Write(value) // a hash never fails
	if err := c.checkContent(e, sum); err != nil {
		return err
	}
	_, err = w.Write(value)
	return err
}
