package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
)

// MaxLink is the longest target of a symbolic link, in bytes: Linux's PATH_MAX without its NUL.
const MaxLink = 4095

// Directory is a plain directory, read as git would store it with `git add -A -f` and `git write-tree`, but without
// git and its settings; or made in memory. The former holds names, oids and places, and no contents: Blobs reads those
// again, and gives only what still has its oid. It may be used from many goroutines.
type Directory struct {
	Name      string   // the last element of the directory's absolute path, or of the file's
	IsFile    bool     // it was made of one file (MakeDirectory)
	Files     int      // files and links
	Bytes     int64    // in them
	Unmatched []string // exclude patterns that matched nothing, in their order

	format Format
	dir    string // absolute, without links
	root   OID
	trees  map[OID][]Entry
	places map[OID]place
	made   map[OID][]byte // contents, if the directory is in memory; else nil
}

// place is where a blob lies.
type place struct {
	path string
	size int64
	link bool // it is the link's target
}

// ReadDirectory reads all that is below dir, with oids of a format. dir may itself be a link to a directory; other
// links are not followed.
// exclude are patterns as in a .gitignore in dir; what is below an excluded directory is not looked at. progress is
// told after each file how many there were so far, and their bytes.
//
// A pattern that cannot be understood is a fault.Usage. A fault.Refused names up to ten things that no tree can hold or
// that cannot be read.
func ReadDirectory(
	ctx context.Context, f Format, dir string, exclude []string, progress func(files int, bytes int64),
) (*Directory, error) {
	rules, err := parseExcludes(exclude)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	d := &Directory{format: f, Name: filepath.Base(abs), trees: map[OID][]Entry{}, places: map[OID]place{}}
	// The path is resolved once: a link that is moved later, or another working directory, changes nothing.
	if d.dir, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, noDirectory(dir, err)
	}
	root, err := openRoot(d.dir)
	if err != nil {
		return nil, noDirectory(dir, err)
	}
	defer root.Close()
	w := &directoryWalk{
		Directory: d, ctx: ctx, root: int(root.Fd()), rules: rules, progress: progress, buf: make([]byte, 128<<10),
	}
	top, _, err := w.walk("")
	switch {
	case err == nil && len(w.problems) > 0, errors.Is(err, errEnough):
		return nil, unfit(dir, w.problems)
	case err != nil:
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	d.root = top
	d.Unmatched = rules.unused()
	return d, nil
}

// openRoot opens a directory that is not a link.
func openRoot(dir string) (*os.File, error) { return disk.OpenAt(unix.AT_FDCWD, dir, unix.O_DIRECTORY) }

// Format is that of the directory's oids.
func (d *Directory) Format() Format { return d.format }

// Root is the tree's oid.
func (d *Directory) Root() OID { return d.root }

// Tree gives a tree's entries, in git's order and without sizes and sha256s; they are the caller's. The error wraps
// ErrNotFound if no directory has this oid.
func (d *Directory) Tree(oid OID) ([]Entry, error) {
	entries, ok := d.trees[oid]
	if !ok {
		return nil, fmt.Errorf("read tree %s: %w", oid, ErrNotFound)
	}
	return slices.Clone(entries), nil
}

// Trees calls fn with what Tree gives for each oid, in order. fn's error ends it.
func (d *Directory) Trees(ctx context.Context, oids []OID, fn func(i int, entries []Entry) error) error {
	for i, oid := range oids {
		if ctx.Err() != nil {
			return fmt.Errorf("read directory %s: %w", d.dir, context.Cause(ctx))
		}
		entries, err := d.Tree(oid)
		if err == nil {
			err = fn(i, entries)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Blobs reads files again: fn is called once for each oid, in order, and need not read all of content, which is good
// until fn returns. The last bytes of a content are handed out only if all of it has the oid. If it has not, or the
// file is gone or has another size, the error wraps ErrChanged. fn's error ends the call, which returns it. An oid of
// no file is an error that wraps ErrNotFound.
func (d *Directory) Blobs(ctx context.Context, oids []OID, fn func(i int, size int64, content io.Reader) error) error {
	if len(oids) == 0 {
		return nil
	}
	if d.made != nil {
		return d.madeBlobs(ctx, oids, fn)
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

// Sizes gives the sizes of files in bytes, as they were. An oid of no file is an error that wraps ErrNotFound.
func (d *Directory) Sizes(_ context.Context, oids []OID) ([]int64, error) {
	sizes := make([]int64, len(oids))
	for i, oid := range oids {
		at, ok := d.places[oid]
		if content, isMade := d.made[oid]; isMade {
			at, ok = place{size: int64(len(content))}, true
		}
		if !ok {
			return nil, fmt.Errorf("read blob %s: %w", oid, ErrNotFound)
		}
		sizes[i] = at.size
	}
	return sizes, nil
}

// again reads a file or link a second time.
func again(ctx context.Context, root int, at place, oid OID, fn func(io.Reader) error) error {
	dir, err := disk.OpenBelow(root, path.Dir(at.path))
	if err != nil {
		return unreadAgain(at.path, err)
	}
	defer dir.Close()
	var content io.Reader
	if at.link {
		target, err := readLink(int(dir.Fd()), path.Base(at.path))
		if err != nil || int64(len(target)) != at.size {
			return unreadAgain(at.path, err)
		}
		content = bytes.NewReader(target)
	} else {
		f, info, err := openFile(int(dir.Fd()), path.Base(at.path))
		if err != nil {
			return unreadAgain(at.path, err)
		}
		defer f.Close()
		if info.Size() != at.size {
			return unreadAgain(at.path, nil)
		}
		content = f
	}
	r := &checkedReader{ctx: ctx, from: content, left: at.size, oid: oid, path: at.path, sum: hashNewBlob(oid.Format(), at.size)}
	defer func() { r.left, r.from = 0, nil }()
	return fn(r)
}

// unreadAgain says why a file could not be read a second time; err is nil if it has another size.
func unreadAgain(path string, err error) error {
	if err == nil || isGone(err) {
		return changed(path)
	}
	return fmt.Errorf("read %q: %w", path, err)
}

// checkedReader withholds a content's last bytes if it is not what it was.
type checkedReader struct {
	ctx  context.Context
	from io.Reader
	left int64
	sum  *BlobHash
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
	case r.left == 0 && r.sum.OID() != r.oid, errors.Is(err, io.EOF) && r.left > 0:
		return 0, changed(r.path)
	case errors.Is(err, io.EOF):
		err = nil
	}
	return n, err
}
