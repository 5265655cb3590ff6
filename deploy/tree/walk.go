package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sys/unix"

	"refship/deploy/disk"
)

// maxProblems is how many things that keep a directory from being deployed are told at once.
const maxProblems = 10

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
	problems []problem
}

// refuse notes what keeps the directory from being deployed. The walk goes on, for others.
func (w *directoryWalk) refuse(where, what, remedy string) error {
	if w.problems = append(w.problems, problem{where, what, remedy}); len(w.problems) == maxProblems {
		return errEnough
	}
	return nil
}

// unread notes a file or directory that could not be read.
func (w *directoryWalk) unread(where string, err error) error {
	switch {
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case isGone(err):
		return w.refuse(where, ErrChanged.Error(), waitRemedy)
	}
	what := fmt.Sprintf("cannot be read: %v", withoutPath(err))
	return w.refuse(where, what, "let this user read it, or leave it out")
}

// walk reads the directory at where and what is below it: files first, so that only one directory is open at a time.
// some is false if there are no files: then no tree has the directory, unless it is the root.
func (w *directoryWalk) walk(where string) (oid OID, some bool, err error) {
	if w.ctx.Err() != nil {
		return OID{}, false, context.Cause(w.ctx)
	}
	entries, dirs, err := w.files(where)
	if err != nil {
		return OID{}, false, err
	}
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
		return OID{}, false, nil
	}
	slices.SortFunc(entries, func(a, b Entry) int { return compareEntries(a.Name, a.Mode, b.Name, b.Mode) })
	oid = treeOID(w.format, entries)
	w.trees[oid] = slices.Clip(entries)
	return oid, true, nil
}

// files reads the files and links of one directory, and the names of its directories.
func (w *directoryWalk) files(where string) (entries []Entry, dirs []string, err error) {
	dir, err := disk.OpenBelow(w.root, where)
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
			err = w.refuse(at, bad.Error(), "leave it out, or deploy the commit instead")
		case kind == unix.S_IFDIR:
			dirs = append(dirs, name)
		case kind == unix.S_IFLNK:
			e, err = w.link(int(dir.Fd()), name, at)
		case kind == unix.S_IFREG:
			e, err = w.file(int(dir.Fd()), name, at)
		default:
			err = w.refuse(at, "is "+kindName(kind),
				"only files, links and directories are deployed: leave it out, or remove it")
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

// addBlob keeps where a blob lies.
func (w *directoryWalk) addBlob(oid OID, at place) {
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
	if len(target) == 0 || len(target) > MaxLink {
		what := fmt.Sprintf("is a symbolic link with a target of %d bytes; 1 to %d can be made", len(target), MaxLink)
		return Entry{}, w.refuse(where, what, "remove the link or correct it, or leave it out")
	}
	oid := HashObject(w.format, "blob", target)
	w.addBlob(oid, place{path: where, size: int64(len(target)), link: true})
	return Entry{Name: name, Mode: filemode.Symlink, OID: oid}, nil
}

func (w *directoryWalk) file(dir int, name, where string) (Entry, error) {
	f, info, err := openFile(dir, name)
	if err != nil {
		return Entry{}, w.unread(where, err)
	}
	defer f.Close()
	if len(w.problems) > 0 {
		return Entry{}, nil // it can be opened: that is enough where the problems are the result
	}
	size := info.Size()
	// Not HashBlob: these files have not been searched for SHA-1 collisions yet.
	sum := hashNewBlob(w.format, size)
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
			e := Entry{Name: name, Mode: filemode.Regular, OID: sum.OID()}
			if info.Mode()&0o100 != 0 {
				e.Mode = filemode.Executable
			}
			w.addBlob(e.OID, place{path: where, size: size})
			return e, nil
		case err != nil:
			return Entry{}, w.unread(where, err)
		}
	}
}
