package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sys/unix"
)

// maxProblems is how many things that keep a directory from being deployed are told at once.
const maxProblems = 10

// maxTarget is the longest target of a symbolic link, in bytes: Linux's PATH_MAX without its NUL.
const maxTarget = 4095

// Directory is a plain directory, read as git would store it with `git add -A -f` and `git write-tree`, without git and
// without a look at what git keeps. It holds names, oids and places, and no contents: Blobs reads those again, and gives
// only what still has its oid. It may be used from many goroutines.
type Directory struct {
	Name      string   // the last element of the directory's absolute path
	Files     int      // files and links
	Bytes     int64    // in them
	Empty     []string // directories without files, which git has none of: the outermost ones, sorted
	Unmatched []string // exclude patterns that matched nothing, in their order

	dir    string // absolute, without links
	root   OID
	trees  map[OID][]Entry
	places map[OID]place
}

// place is where a blob lies.
type place struct {
	path string
	size int64
	link bool // it is the link's target
}

// ReadDirectory reads all that is below dir, which may itself be a link to a directory; other links are not followed.
// exclude are patterns as in a .gitignore in dir; what is below an excluded directory is not looked at. progress is told
// after each file how many there were so far, and their bytes.
//
// A *PatternError is about exclude. A *DirectoryError names up to ten things that no tree can hold or that cannot be
// read.
func ReadDirectory(ctx context.Context, dir string, exclude []string, progress func(files int, bytes int64)) (*Directory, error) {
	rules, err := parseExcludes(exclude)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	d := &Directory{Name: filepath.Base(abs), trees: map[OID][]Entry{}, places: map[OID]place{}}
	// Whoever moves the link, or this process, elsewhere is still read from where it began.
	if d.dir, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, noDirectory(dir, err)
	}
	root, err := openRoot(d.dir)
	if err != nil {
		return nil, noDirectory(dir, err)
	}
	defer root.Close()
	w := &directoryWalk{Directory: d, ctx: ctx, root: int(root.Fd()), rules: rules, progress: progress, buf: make([]byte, 128<<10)}
	top, _, err := w.walk("")
	switch {
	case err == nil && len(w.problems) > 0, errors.Is(err, errEnough):
		return nil, &DirectoryError{Dir: dir, Problems: w.problems}
	case err != nil:
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	d.root = top
	d.Unmatched = rules.unused()
	slices.Sort(d.Empty)
	return d, nil
}

// openRoot opens a directory that no link of the same name has taken the place of.
func openRoot(dir string) (*os.File, error) { return openAt(unix.AT_FDCWD, dir, unix.O_DIRECTORY) }

// Root is the tree's oid.
func (d *Directory) Root() OID { return d.root }

// Tree gives a tree's entries, in git's order, not to be changed. The error wraps ErrNotFound if no
// directory has this oid.
func (d *Directory) Tree(oid OID) ([]Entry, error) {
	entries, ok := d.trees[oid]
	if !ok {
		return nil, fmt.Errorf("read tree %s: %w", oid, ErrNotFound)
	}
	return entries, nil
}

// Blobs reads files again: fn is called once for each oid, in order, and need not read all of content, which is good
// until fn returns. The last bytes of a content are handed out only when all of it has the oid: else, and when the file
// has another size or is none any more, the error is a *ChangedError. fn's error ends the call, which returns it; an oid
// of no file wraps ErrNotFound.
func (d *Directory) Blobs(ctx context.Context, oids []OID, fn func(i int, size int64, content io.Reader) error) error {
	if len(oids) == 0 {
		return nil
	}
	root, err := openRoot(d.dir)
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	defer root.Close()
	for i, oid := range oids {
		at, ok := d.places[oid]
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("read directory %s: %w", d.dir, context.Cause(ctx))
		case !ok:
			return fmt.Errorf("read blob %s: %w", oid, ErrNotFound)
		}
		err := again(ctx, int(root.Fd()), at, oid, func(content io.Reader) error { return fn(i, at.size, content) })
		if err != nil {
			return err
		}
	}
	return nil
}

// again reads a file or link a second time.
func again(ctx context.Context, root int, at place, oid OID, fn func(io.Reader) error) error {
	dir, err := openBelow(root, path.Dir(at.path))
	if err != nil {
		return changed(at.path, err)
	}
	defer dir.Close()
	var content io.Reader
	if at.link {
		target, err := readLink(int(dir.Fd()), path.Base(at.path))
		if err != nil || int64(len(target)) != at.size {
			return changed(at.path, err)
		}
		content = bytes.NewReader(target)
	} else {
		f, info, err := openFile(int(dir.Fd()), path.Base(at.path))
		if err != nil {
			return changed(at.path, err)
		}
		defer f.Close()
		if info.Size() != at.size {
			return changed(at.path, nil)
		}
		content = f
	}
	r := &checkedReader{ctx: ctx, from: content, left: at.size, oid: oid, path: at.path, sum: newHash("blob", at.size)}
	defer func() { r.left, r.from = 0, nil }()
	return fn(r)
}

// changed words what became of a file that was read before.
func changed(where string, err error) error {
	switch {
	case err == nil, errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, errNoFile):
		return &ChangedError{Path: where}
	}
	return fmt.Errorf("read %q: %w", where, err)
}

// checkedReader withholds a content's last bytes if it is not what it was.
type checkedReader struct {
	ctx  context.Context
	from io.Reader
	left int64
	sum  hash.Hash
	oid  OID
	path string
}

func (r *checkedReader) Read(b []byte) (int, error) {
	switch {
	case r.left == 0:
		return 0, io.EOF
	case r.ctx.Err() != nil:
		return 0, context.Cause(r.ctx)
	}
	n, err := r.from.Read(b[:min(int64(len(b)), r.left)])
	_, _ = r.sum.Write(b[:n]) // a hash never fails
	r.left -= int64(n)
	switch {
	case r.left == 0 && sumOf(r.sum) != r.oid, errors.Is(err, io.EOF) && r.left > 0:
		return 0, &ChangedError{Path: r.path}
	case errors.Is(err, io.EOF):
		err = nil
	}
	return n, err
}

// errEnough ends a walk that found maxProblems.
var errEnough = errors.New("enough problems")

// directoryWalk reads a directory for the first time.
type directoryWalk struct {
	*Directory
	ctx      context.Context // of the one call that the walk is
	root     int
	rules    excludes
	progress func(int, int64)
	buf      []byte
	problems []Problem
}

// problem notes what keeps the directory from being deployed; the walk goes on for others.
func (w *directoryWalk) problem(where, what, remedy string) error {
	if w.problems = append(w.problems, Problem{Path: where, What: what, Remedy: remedy}); len(w.problems) == maxProblems {
		return errEnough
	}
	return nil
}

// unread notes a file or directory that could not be read.
func (w *directoryWalk) unread(where string, err error) error {
	switch {
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, errNoFile):
		return w.problem(where, "changed while it was read", waitRemedy)
	}
	var at *os.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return w.problem(where, "cannot be read: "+err.Error(), "let this user read it, or leave it out with --exclude")
}

// walk reads the directory at where and what is below it: files first, so that only one directory is open at a time.
// some tells whether a tree has it: one without files it has not, but for the root.
func (w *directoryWalk) walk(where string) (oid OID, some bool, err error) {
	if w.ctx.Err() != nil {
		return OID{}, false, context.Cause(w.ctx)
	}
	entries, dirs, err := w.files(where)
	if err != nil {
		return OID{}, false, err
	}
	empty := len(w.Empty)
	for _, name := range dirs {
		below, some, err := w.walk(path.Join(where, name))
		if err != nil {
			return OID{}, false, err
		}
		if some {
			entries = append(entries, Entry{Name: name, Mode: filemode.Dir, OID: below})
		}
	}
	if len(entries) == 0 && where != "" {
		w.Empty = append(w.Empty[:empty], where) // in place of those below it
		return OID{}, false, nil
	}
	slices.SortFunc(entries, func(a, b Entry) int { return compareEntries(a.Name, a.Mode, b.Name, b.Mode) })
	oid = treeOID(entries)
	w.trees[oid] = slices.Clip(entries)
	return oid, true, nil
}

// files reads the files and links of one directory, and the names of its directories.
func (w *directoryWalk) files(where string) (entries []Entry, dirs []string, err error) {
	dir, err := openBelow(w.root, where)
	if err != nil {
		return nil, nil, w.unread(where, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, w.unread(where, err)
	}
	slices.Sort(names)
	for _, name := range names {
		at := path.Join(where, name)
		kind, err := kindAt(int(dir.Fd()), name)
		if err == nil && w.rules.excluded(at, kind == unix.S_IFDIR) {
			continue
		}
		var e Entry
		switch bad := CheckName(name); {
		case err != nil:
			err = w.unread(at, err)
		case bad != nil:
			err = w.problem(at, bad.Error(), "leave it out with --exclude "+name+", or deploy the commit: refship deploy --repo DIR --rev REV")
		case kind == unix.S_IFDIR:
			dirs = append(dirs, name)
		case kind == unix.S_IFLNK:
			e, err = w.link(int(dir.Fd()), name, at)
		case kind == unix.S_IFREG:
			e, err = w.file(int(dir.Fd()), name, at)
		default:
			err = w.problem(at, "is "+kindName(kind), "only files, links and directories are deployed: leave it out with --exclude, or remove it")
		}
		switch {
		case err != nil:
			return nil, nil, err
		case e.Name != "":
			entries = append(entries, e)
		}
	}
	return entries, dirs, nil
}

// take keeps where a blob lies.
func (w *directoryWalk) take(oid OID, at place) {
	w.places[oid] = at
	w.Files++
	w.Bytes += at.size
	w.progress(w.Files, w.Bytes)
}

func (w *directoryWalk) link(dir int, name, where string) (Entry, error) {
	target, err := readLink(dir, name)
	if err != nil {
		return Entry{}, w.unread(where, err)
	}
	if len(target) == 0 || len(target) > maxTarget {
		what := fmt.Sprintf("is a symbolic link with a target of %d bytes; 1 to %d can be made", len(target), maxTarget)
		return Entry{}, w.problem(where, what, "remove the link or correct it, or leave it out with --exclude")
	}
	oid := hashObject("blob", target)
	w.take(oid, place{path: where, size: int64(len(target)), link: true})
	return Entry{Name: name, Mode: filemode.Symlink, OID: oid}, nil
}

func (w *directoryWalk) file(dir int, name, where string) (Entry, error) {
	f, info, err := openFile(dir, name)
	if err != nil {
		return Entry{}, w.unread(where, err)
	}
	defer f.Close()
	if len(w.problems) > 0 {
		return Entry{}, nil // it can be opened: whoever waits for the other problems waits for no more
	}
	size := info.Size()
	// Not HashBlob: nobody has looked for SHA-1 collisions in these files yet.
	sum := newHash("blob", size)
	for n := int64(0); ; {
		got, err := f.Read(w.buf)
		_, _ = sum.Write(w.buf[:got]) // a hash never fails
		n += int64(got)
		switch {
		case w.ctx.Err() != nil:
			return Entry{}, context.Cause(w.ctx)
		case n > size, errors.Is(err, io.EOF) && n < size:
			return Entry{}, w.unread(where, errNoFile)
		case errors.Is(err, io.EOF):
			e := Entry{Name: name, Mode: filemode.Regular, OID: sumOf(sum)}
			if info.Mode()&0o100 != 0 {
				e.Mode = filemode.Executable
			}
			w.take(e.OID, place{path: where, size: size})
			return e, nil
		case err != nil:
			return Entry{}, w.unread(where, err)
		}
	}
}
