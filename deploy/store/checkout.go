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
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sync/errgroup"

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
	top   *os.File // root's directory
	told  text.Progress
	tell  func(text.Progress)
	// content writes one content and checks it.
	content func(context.Context, tree.Entry, io.Writer) error
	singly  bool    // small contents, too
	before  *before // nil: there is none
	each    func(path string, e *tree.Entry) error

	telling sync.Mutex // guards told, and calls of tell
	batch   []place
	held    int64           // bytes of the contents in batch
	writes  *errgroup.Group // of batches
}

type place struct {
	path  string
	entry tree.Entry
}

// Checkout writes a deploy's tree into a directory that does not exist yet: every byte is checked, and the directory
// appears whole, under its name, at the very end. Links are made and never followed; a submodule is an empty
// directory. The directory to make it in must be one where nobody else can meddle (disk.OpenSafe), and stays open: what
// happens to its path meanwhile changes nothing.
func (c *Chain) Checkout(ctx context.Context, d *record.Deploy, dir string, progress func(text.Progress)) error {
	return c.CheckoutAfter(ctx, d, dir, Earlier{}, progress)
}

// Earlier is what an earlier checkout of the chain has left. All of it may be nil.
type Earlier struct {
	// Nodes are directories that are known already; those of the deploy are known, too, afterwards.
	Nodes *Nodes
	// Root has the earlier checkout's files, which may have been changed since. Each file that is still right is cloned or
	// copied from the same path, and hashed again: no file shares anything that a writer of the other could change.
	Root *os.Root
	// Each is called for what the deploy has at each path, a directory before what is in it, before it is written. Its
	// error ends the checkout.
	Each func(path string, e *tree.Entry) error
}

// CheckoutAfter is Checkout that reads from etcd only what an earlier checkout lacks.
func (c *Chain) CheckoutAfter(
	ctx context.Context, d *record.Deploy, dir string, earlier Earlier, progress func(text.Progress),
) (err error) {
	defer func() { err = c.Explain(ctx, err, d) }()
	dir = filepath.Clean(dir)
	parent, err := openParent(dir)
	if err != nil {
		return err
	}
	defer parent.Close()
	nodes := earlier.Nodes
	if nodes == nil {
		nodes = c.NewNodes()
	}
	top, err := nodes.root(ctx, d)
	files := 0
	if err == nil {
		files, err = checkFits(ctx, nodes, top, filepath.Dir(dir))
	}
	if err != nil {
		return fmt.Errorf("check out deploy %d: %w", d.ID, err)
	}
	scratch := ".refship-" + rand.Text()
	root, err := makeDir(parent, scratch)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, parent.RemoveAll(scratch))
		}
	}()
	defer root.Close()
	opened, err := root.Open(".")
	if err != nil {
		return err
	}
	defer opened.Close()
	w := &checkout{
		chain: c, nodes: nodes, root: root, top: opened, tell: progress, content: c.contentOf(d), singly: d.Record == nil,
	}
	if earlier.Root != nil {
		if top, err := earlier.Root.Open("."); err == nil { // else all is read from etcd
			defer top.Close()
			w.before = &before{root: earlier.Root, top: top}
		}
	}
	if w.each = earlier.Each; w.each == nil {
		w.each = func(string, *tree.Entry) error { return nil }
	}
	w.told = text.Progress{Step: "writing", FilesTotal: files}
	if err := w.tree(ctx, top); err != nil {
		return fmt.Errorf("check out deploy %d: %w", d.ID, err)
	}
	if err := disk.SyncTree(root); err != nil {
		return err
	}
	return disk.RenameNew(parent, scratch, filepath.Base(dir))
}

// openParent opens the directory to make a directory in, which is refused if it is there, or cannot be made.
func openParent(dir string) (*os.Root, error) {
	path := filepath.Dir(dir)
	parent, err := disk.OpenSafe(path)
	at, wrong, unfit := disk.Unfit(err)
	switch {
	case unfit:
		what := fmt.Sprintf("nothing is checked out into %q: it %s", at, wrong)
		return nil, &fault.Error{Kind: fault.Refused, What: what, Cause: err}
	case errors.Is(err, fs.ErrNotExist):
		what := fmt.Sprintf("there is no directory %q to make %q in", path, filepath.Base(dir))
		return nil, fault.New(fault.Failed, what, "make it first")
	case err != nil:
		return nil, err
	}
	if _, err = parent.Lstat(filepath.Base(dir)); err == nil || !filepath.IsLocal(filepath.Base(dir)) { // / and ..
		err = fault.New(fault.Failed, fmt.Sprintf("%q is there already", dir), "name a directory that does not exist yet")
	} else if errors.Is(err, fs.ErrNotExist) {
		return parent, nil
	}
	return nil, errors.Join(err, parent.Close())
}

// makeDir makes a directory and opens that very one.
func makeDir(parent *os.Root, name string) (*os.Root, error) {
	if err := parent.Mkdir(name, 0o777); err != nil {
		return nil, fmt.Errorf("make a directory in %q: %w", parent.Name(), err)
	}
	root, err := parent.OpenRoot(name)
	if err != nil {
		return nil, errors.Join(err, parent.Remove(name))
	}
	opened, err := root.Stat(".")
	if err == nil {
		made, missing := parent.Lstat(name) // a link's own
		if err = missing; err == nil && !os.SameFile(made, opened) {
			err = fmt.Errorf("%q in %q was replaced when it was made", name, parent.Name())
		}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close(), parent.RemoveAll(name))
	}
	return root, nil
}

// tree writes everything below the root. Small files are written while others are read.
func (w *checkout) tree(ctx context.Context, root tree.Entry) error {
	var batches context.Context
	w.writes, batches = errgroup.WithContext(ctx)
	w.writes.SetLimit(readsAtOnce)
	err := w.levels(batches, root)
	if failed := w.writes.Wait(); failed != nil { // it has ended the levels, too
		return failed
	}
	return err
}

// levels goes down a level at a time, so that the nodes of a level are read together.
func (w *checkout) levels(ctx context.Context, root tree.Entry) error {
	for level := []place{{"", root}}; len(level) > 0; {
		dirs := make([]*tree.Entry, len(level))
		for i := range level {
			dirs[i] = &level[i].entry
		}
		if err := w.nodes.loadVerified(ctx, dirs...); err != nil {
			return err
		}
		dirsBelow, files, err := w.level(level)
		if err == nil {
			files, err = w.copy(ctx, files)
		}
		if err != nil {
			return err
		}
		for _, p := range files {
			if err := w.file(ctx, p); err != nil {
				return fmt.Errorf("%q: %w", p.path, err)
			}
		}
		level = dirsBelow
	}
	w.flush(ctx)
	return nil
}

// level makes the directories of a level, and gives them and its files.
func (w *checkout) level(level []place) (dirs, files []place, err error) {
	for _, p := range level {
		for _, e := range w.nodes.Node(p.entry.OID).Entries {
			at := place{path.Join(p.path, e.Name), e}
			if err := w.each(at.path, &e); err != nil {
				return nil, nil, err
			}
			switch e.Mode {
			case dirMode:
				dirs = append(dirs, at)
				err = w.root.Mkdir(at.path, 0o777)
			case filemode.Submodule:
				err = w.root.Mkdir(at.path, 0o777)
			default:
				files = append(files, at)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%q: %w", at.path, err)
			}
		}
	}
	return dirs, files, nil
}

func (w *checkout) file(ctx context.Context, p place) error {
	switch {
	case p.entry.Size > tree.ChunkSize && p.entry.Mode == filemode.Symlink:
		return record.Corrupt(w.chain.ContentKey(p.entry.SHA256), "a symbolic link's target cannot be so long")
	case p.entry.Size > tree.ChunkSize || w.singly:
		content := func(f io.Writer) error { return w.content(ctx, p.entry, f) }
		if err := WriteFile(w.root, p.path, p.entry.Mode, content); err != nil {
			return err
		}
		w.count(p.entry.Size)
		return nil
	}
	w.batch = append(w.batch, p)
	if w.held += p.entry.Size; len(w.batch) == filesAtOnce || w.held >= tree.ChunkSize {
		w.flush(ctx)
	}
	return nil
}

// flush has the files of the batch written, beside what follows, once few enough are.
func (w *checkout) flush(ctx context.Context) {
	batch := w.batch
	w.batch, w.held = nil, 0
	w.writes.Go(func() error { return w.together(ctx, batch) })
}

// together writes small files, whose contents are read together.
func (w *checkout) together(ctx context.Context, batch []place) error {
	if len(batch) == 0 {
		return nil
	}
	keys := make([]string, len(batch))
	for i, p := range batch {
		keys[i] = w.chain.ContentKey(p.entry.SHA256)
	}
	found, err := w.chain.readKeys(ctx, keys)
	if err != nil {
		return fmt.Errorf("read contents: %w", err)
	}
	at := directory{top: w.top}
	defer at.leave()
	for i, p := range batch {
		if err := w.small(&at, p, keys[i], found[i]); err != nil {
			return fmt.Errorf("%q: %w", p.path, err)
		}
		w.count(p.entry.Size)
	}
	return nil
}

// directory is the one that a batch is in: files that follow each other are mostly in the same.
type directory struct {
	top    *os.File // of the checkout
	path   string   // of opened, below top
	opened *os.File // nil: none
}

// enter gives the directory of a file.
func (d *directory) enter(file string) (fd int, err error) {
	if dir := path.Dir(file); d.opened == nil || d.path != dir {
		d.leave()
		d.path = dir
		if d.opened, err = disk.OpenBelow(int(d.top.Fd()), dir); err != nil {
			return 0, err
		}
	}
	return int(d.opened.Fd()), nil
}

func (d *directory) leave() {
	if d.opened != nil {
		_ = d.opened.Close() // nothing is written to it
		d.opened = nil
	}
}

func (w *checkout) small(at *directory, p place, key string, found []KeyValue) error {
	value, err := valueOf(key, p.entry.Size, found)
	if err != nil {
		return err
	}
	sum := tree.NewContentHash(p.entry.OID.Format(), p.entry.Size)
	_, _ = sum.Write(value) // a hash never fails
	if err := w.chain.checkContent(p.entry, sum); err != nil {
		return err
	}
	if p.entry.Mode == filemode.Symlink {
		return w.root.Symlink(string(value), p.path)
	}
	dir, err := at.enter(p.path)
	if err != nil {
		return err
	}
	return disk.MakeAt(dir, path.Base(p.path), value, permissions(p.entry.Mode))
}

func (w *checkout) count(size int64) {
	w.telling.Lock()
	defer w.telling.Unlock()
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
	f, err := root.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, permissions(mode))
	if err != nil {
		return err
	}
	return errors.Join(content(f), f.Close())
}

// permissions are git's, before the umask has taken its share.
func permissions(mode filemode.FileMode) fs.FileMode {
	if mode == filemode.Executable {
		return 0o777
	}
	return 0o666
}
