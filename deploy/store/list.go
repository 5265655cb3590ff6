package store

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// noTreeError says that a deploy has no tree to read: it is foreign.
func (c *Chain) noTreeError(d *record.Deploy) error {
	return fmt.Errorf("read deploy %d of %s: it is foreign, another writer's: refship reads no tree of it", d.ID, c.ns)
}

// noPath says that a deploy has nothing at a path, which is raw bytes.
func noPath(where, why string) error {
	return &fault.Error{
		Kind:   fault.Failed,
		What:   fmt.Sprintf("path %q: %s", where, why),
		Remedy: "a path goes from the deploy's root, without a slash at its start, as refship ls --recursive prints it",
	}
}

func inWords(dir string) string {
	if dir == "" {
		return "the deploy's root"
	}
	return strconv.Quote(dir)
}

// find walks from the root to what is at a path: "" is the root. The walk follows no symbolic link.
func (n *Nodes) find(ctx context.Context, root tree.Entry, where string) (tree.Entry, error) {
	at := root
	if where == "" {
		return at, nil
	}
	var done string
	for _, name := range strings.Split(where, "/") {
		if at.Mode != dirMode {
			return at, noPath(where, fmt.Sprintf("%q is no directory", done))
		}
		if err := n.loadVerified(ctx, []tree.Entry{at}); err != nil {
			return at, err
		}
		next := -1
		entries := n.Node(at.OID).Entries
		for i := range entries {
			if entries[i].Name == name {
				next = i
			}
		}
		if next < 0 {
			return at, noPath(where, fmt.Sprintf("there is no %q in %s", name, inWords(done)))
		}
		at, done = entries[next], path.Join(done, name)
	}
	return at, nil
}

// List calls fn for the entries of the directory at where ("" is the root), or for the one file that is there, with
// their paths; recursive goes into directories, which are then not told themselves. Every node is checked on the way.
// Paths are raw bytes, elements joined with "/".
func (c *Chain) List(ctx context.Context, d *record.Deploy, where string, recursive bool, fn func(path string, e tree.Entry) error) error {
	if d.Record == nil {
		return c.noTreeError(d)
	}
	n := c.NewNodes()
	where, asDir := strings.CutSuffix(where, "/")
	at, err := n.find(ctx, d.Record.Root(), where)
	if err != nil {
		return fmt.Errorf("list deploy %d: %w", d.ID, err)
	}
	switch {
	case at.Mode == dirMode:
	case asDir:
		return fmt.Errorf("list deploy %d: %w", d.ID, noPath(where+"/", "it is no directory"))
	default:
		return fn(where, at)
	}
	seen := 0
	return n.list(ctx, where, at, recursive, &seen, fn)
}

func (n *Nodes) list(ctx context.Context, where string, dir tree.Entry, recursive bool, seen *int, fn func(string, tree.Entry) error) error {
	if *seen++; *seen > maxDirs {
		return fmt.Errorf("list %q: more than %d directories", where, maxDirs)
	}
	if err := n.loadVerified(ctx, []tree.Entry{dir}); err != nil {
		return err
	}
	entries := n.Node(dir.OID).Entries
	if recursive {
		if err := n.loadVerified(ctx, dirsOf(entries)); err != nil { // all of them at once
			return err
		}
	}
	for _, e := range entries {
		at := path.Join(where, e.Name)
		var err error
		if recursive && e.Mode == dirMode {
			err = n.list(ctx, at, e, recursive, seen, fn)
		} else {
			err = fn(at, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func dirsOf(entries []tree.Entry) []tree.Entry {
	var dirs []tree.Entry
	for _, e := range entries {
		if e.Mode == dirMode {
			dirs = append(dirs, e)
		}
	}
	return dirs
}

// Cat writes the content at a path; of a symbolic link its target. A content of up to 1 MiB is checked before the
// first byte is written, a longer one as it goes: bytes may have been written when a fault.Corrupt comes.
func (c *Chain) Cat(ctx context.Context, d *record.Deploy, where string, w io.Writer) error {
	if d.Record == nil {
		return c.noTreeError(d)
	}
	e, err := c.NewNodes().find(ctx, d.Record.Root(), where)
	if err != nil {
		return fmt.Errorf("read deploy %d: %w", d.ID, err)
	}
	switch e.Mode {
	case dirMode:
		return fmt.Errorf("read deploy %d: %q is a directory", d.ID, where)
	case filemode.Submodule:
		return fmt.Errorf("read deploy %d: %q is a submodule at commit %s: its content is not deployed", d.ID, where, e.OID)
	}
	return c.content(ctx, e, w)
}

// chunksAtOnce is how many chunks of a content are read together.
const chunksAtOnce = 4

// content writes a file's content and checks it.
func (c *Chain) content(ctx context.Context, e tree.Entry, w io.Writer) error {
	sum, count := tree.NewContentHash(e.Size), chunkCount(e.Size)
	for first := int64(0); first < count; first += chunksAtOnce {
		last := min(first+chunksAtOnce, count)
		keys := make([]string, 0, chunksAtOnce)
		for i := first; i < last; i++ {
			keys = append(keys, chunkKey(c.ContentKey(e.SHA256), e.Size, i))
		}
		found, err := c.readKeys(ctx, keys)
		if err != nil {
			return err
		}
		values := make([][]byte, len(keys))
		for i, key := range keys {
			if values[i], err = valueOf(key, found[i]); err != nil {
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

// readKeys reads contents, or parts of one, at most MaxQueries of them.
func (c *Chain) readKeys(ctx context.Context, keys []string) ([][]KeyValue, error) {
	queries := make([]Query, len(keys))
	for i, key := range keys {
		queries[i].Key = key
	}
	found, _, err := c.reader.Read(ctx, 0, queries)
	if err != nil {
		return nil, fmt.Errorf("read contents: %w", err)
	}
	return found, nil
}

// valueOf is the value of a key that must exist.
func valueOf(key string, found []KeyValue) ([]byte, error) {
	if len(found) == 0 {
		return nil, record.Corrupt(key, "it is missing")
	}
	return found[0].Value, nil
}

func (c *Chain) checkContent(e tree.Entry, sum *tree.ContentHash) error {
	if sum.SHA256() == e.SHA256 && sum.OID() == e.OID {
		return nil
	}
	return record.Corrupt(c.ContentKey(e.SHA256), fmt.Sprintf("the content is another: sha256 %s, blob %s", sum.SHA256(), sum.OID()))
}
