package store

import (
	"context"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// Cat writes the contents at paths, one after the other; of a symbolic link its target. Nothing is written unless there
// is a file at each of them. A content of up to 1 MiB is checked before its first byte is written, a longer one as it
// goes: bytes may have been written when a fault.Corrupt comes.
func (c *Chain) Cat(ctx context.Context, d *record.Deploy, w io.Writer, paths ...string) (err error) {
	defer func() { err = c.Explain(ctx, err, d) }()
	n, files := c.NewNodes(), make([]tree.Entry, len(paths))
	root, err := n.root(ctx, d)
	for i, where := range paths {
		if err == nil {
			files[i], err = n.find(ctx, root, where)
		}
		if err != nil {
			return fmt.Errorf("read deploy %d: %w", d.ID, err)
		}
		switch files[i].Mode {
		case dirMode:
			return fmt.Errorf("read deploy %d: %q is a directory", d.ID, where)
		case filemode.Submodule:
			return fmt.Errorf("read deploy %d: %q is a submodule at commit %s: its content is not deployed", d.ID, where,
				files[i].OID)
		}
	}
	for _, file := range files {
		if err := c.contentOf(d)(ctx, file, w); err != nil {
			return err
		}
	}
	return nil
}

// Content writes the content of a file of a deploy, or the target of a symbolic link, and checks it as Cat does.
func (c *Chain) Content(ctx context.Context, d *record.Deploy, e tree.Entry, w io.Writer) error {
	return c.Explain(ctx, c.contentOf(d)(ctx, e, w), d)
}

// contentOf gives what writes a file's content and checks it.
func (c *Chain) contentOf(d *record.Deploy) func(context.Context, tree.Entry, io.Writer) error {
	if d.Record == nil {
		return c.foreignContent
	}
	return c.content
}

// chunksAtOnce is how many chunks of a content are read together at most.
const chunksAtOnce = 6

// content writes a file's content and checks it.
func (c *Chain) content(ctx context.Context, e tree.Entry, w io.Writer) error {
	sum, count := tree.NewContentHash(e.OID.Format(), e.Size), chunkCount(e.Size)
	reads := (count + chunksAtOnce - 1) / chunksAtOnce // of about the same size: a small one costs as much as a large one
	for i := range reads {
		first, last := count*i/reads, count*(i+1)/reads
		keys := make([]string, 0, chunksAtOnce)
		for i := first; i < last; i++ {
			keys = append(keys, chunkKey(c.ContentKey(e.SHA256), e.Size, i))
		}
		found, err := c.readKeys(ctx, keys)
		if err != nil {
			return fmt.Errorf("read contents: %w", err)
		}
		values := make([][]byte, len(keys))
		for i, key := range keys {
			want := min(e.Size-(first+int64(i))*tree.ChunkSize, tree.ChunkSize)
			if values[i], err = valueOf(key, want, found[i]); err != nil {
				return err
			}
			_, _ = sum.Write(values[i]) // a hash never fails
		}
		if last == count {
			if err := c.checkContent(e, sum); err != nil {
				return err
			}
		}
		for _, value := range values {
			if _, err := w.Write(value); err != nil {
				return err
			}
		}
	}
	return nil
}

// readKeys reads contents, nodes, or parts of one, at most MaxQueries of them.
func (c *Chain) readKeys(ctx context.Context, keys []string) ([][]KeyValue, error) {
	queries := make([]Query, len(keys))
	for i, key := range keys {
		queries[i].Key = key
	}
	found, _, err := c.reader.Read(ctx, 0, queries)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// valueOf is the value of a key that must exist, and of the size that the directory above names.
func valueOf(key string, size int64, found []KeyValue) ([]byte, error) {
	switch {
	case len(found) == 0:
		return nil, record.Missing(key)
	case int64(len(found[0].Value)) != size:
		return nil, record.Corrupt(key, fmt.Sprintf("%d bytes are there, %d were deployed", len(found[0].Value), size))
	}
	return found[0].Value, nil
}

// checkContent checks that what was read is what its entry names.
func (c *Chain) checkContent(e tree.Entry, sum *tree.ContentHash) error {
	if sum.SHA256() == e.SHA256 && sum.OID() == e.OID {
		return nil
	}
	what := fmt.Sprintf("the content does not match: it is sha256 %s, blob %s", sum.SHA256(), sum.OID())
	return record.Corrupt(c.ContentKey(e.SHA256), what)
}
