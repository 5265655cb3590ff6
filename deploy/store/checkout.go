package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// filesAtOnce bounds how many small contents are read from etcd together.
const filesAtOnce = 64

// checkout writes one deploy's tree below root. Paths go through os.Root: nothing can be written outside of it,
// whatever links and names the tree has.
type checkout struct {
	chain *Chain
	nodes *Nodes
	root  *os.Root
	told  text.Progress
	tell  func(text.Progress)

	dirs  int
	batch []place
	held  int64 // bytes of the contents in batch
}

type place struct {
	path  string
	entry tree.Entry
}

// Checkout writes a deploy's tree into a directory that does not exist yet: every byte is checked, and the directory
// appears whole, under its name, at the very end. Links are made and never followed; a submodule is an empty
// directory.
func (c *Chain) Checkout(ctx context.Context, d *record.Deploy, dir string, progress func(text.Progress)) (err error) {
	if d.Record == nil {
		return c.noTreeError(d)
	}
	dir = filepath.Clean(dir)
	if err := checkFree(dir); err != nil {
		return err
	}
	scratch := filepath.Join(filepath.Dir(dir), ".refship-"+rand.Text())
	if err := os.Mkdir(scratch, 0o777); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(scratch))
		}
	}()
	root, err := os.OpenRoot(scratch)
	if err != nil {
		return err
	}
	defer root.Close()
	w := &checkout{chain: c, nodes: c.NewNodes(), root: root, tell: progress}
	w.told = text.Progress{Step: "writing", FilesTotal: d.Record.Files}
	if err := w.tree(ctx, d.Record.Root()); err != nil {
		return fmt.Errorf("check out deploy %d: %w", d.ID, err)
	}
	if err := disk.SyncTree(scratch); err != nil {
		return err
	}
	return disk.RenameNew(scratch, dir)
}

// checkFree refuses a directory that is there, or cannot be made.
func checkFree(dir string) error {
	_, err := os.Lstat(dir)
	switch parent := filepath.Dir(dir); {
	case err == nil:
		return fault.New(fault.Failed, fmt.Sprintf("%q is there already", dir), "name a directory that does not exist yet")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			what := fmt.Sprintf("there is no directory %q to make %q in", parent, filepath.Base(dir))
			return fault.New(fault.Failed, what, "make it first")
		}
		return nil
	}
}

// tree writes everything below the root, a level at a time, so that the nodes of a level are read together.
func (w *checkout) tree(ctx context.Context, root tree.Entry) error {
	for level := []place{{"", root}}; len(level) > 0; {
		entries := make([]tree.Entry, len(level))
		for i, p := range level {
			entries[i] = p.entry
		}
		if err := w.nodes.loadVerified(ctx, entries); err != nil {
			return err
		}
		if w.dirs += len(level); w.dirs > maxDirs {
			return fmt.Errorf("more than %d directories", maxDirs)
		}
		var next []place
		for _, p := range level {
			for _, e := range w.nodes.Node(p.entry.OID).Entries {
				at := place{path.Join(p.path, e.Name), e}
				if e.Mode == dirMode {
					next = append(next, at)
				}
				if err := w.entry(ctx, at); err != nil {
					return fmt.Errorf("%q: %w", at.path, err)
				}
			}
		}
		level = next
	}
	return w.flush(ctx)
}

func (w *checkout) entry(ctx context.Context, p place) error {
	switch {
	case p.entry.Mode == dirMode, p.entry.Mode == filemode.Submodule:
		return w.root.Mkdir(p.path, 0o777)
	case p.entry.Size > tree.ChunkSize && p.entry.Mode == filemode.Symlink:
		return record.Corrupt(w.chain.ContentKey(p.entry.SHA256), "a symbolic link's target cannot be so long")
	case p.entry.Size > tree.ChunkSize:
		content := func(f io.Writer) error { return w.chain.content(ctx, p.entry, f) }
		if err := WriteFile(w.root, p.path, p.entry.Mode, content); err != nil {
			return err
		}
		w.count(p.entry.Size)
		return nil
	}
	w.batch = append(w.batch, p)
	if w.held += p.entry.Size; len(w.batch) < filesAtOnce && w.held < 4*tree.ChunkSize {
		return nil
	}
	return w.flush(ctx)
}

// flush writes the files whose contents are read together.
func (w *checkout) flush(ctx context.Context) error {
	keys := make([]string, len(w.batch))
	for i, p := range w.batch {
		keys[i] = w.chain.ContentKey(p.entry.SHA256)
	}
	found, err := w.chain.readKeys(ctx, keys)
	if err != nil {
		return err
	}
	for i, p := range w.batch {
		if err := w.small(p, keys[i], found[i]); err != nil {
			return fmt.Errorf("%q: %w", p.path, err)
		}
		w.count(p.entry.Size)
	}
	w.batch, w.held = w.batch[:0], 0
	return nil
}

func (w *checkout) small(p place, key string, found []KeyValue) error {
	value, err := valueOf(key, found)
	if err != nil {
		return err
	}
	sum := tree.NewContentHash(p.entry.Size)
	_, _ = sum.Write(value) // a hash never fails
	if err := w.chain.checkContent(p.entry, sum); err != nil {
		return err
	}
	return WriteFile(w.root, p.path, p.entry.Mode, func(f io.Writer) error {
		_, err := f.Write(value)
		return err
	})
}

func (w *checkout) count(size int64) {
	w.told.Files++
	w.told.Bytes += size
	w.tell(w.told)
}

// WriteFile makes a file or a symbolic link at a path below root; content writes what is in it, or where the link leads
// to. Permissions are git's: the umask takes its share.
func WriteFile(root *os.Root, path string, mode filemode.FileMode, content func(io.Writer) error) error {
	if mode == filemode.Symlink {
		var target strings.Builder
		if err := content(&target); err != nil {
			return err
		}
		return root.Symlink(target.String(), path)
	}
	permissions := fs.FileMode(0o666)
	if mode == filemode.Executable {
		permissions = 0o777
	}
	f, err := root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, permissions)
	if err != nil {
		return err
	}
	return errors.Join(content(f), f.Close())
}
