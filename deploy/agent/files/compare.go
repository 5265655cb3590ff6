package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// What is the way in which something differs from a list.
type What int

// The ways.
const (
	Missing   What = iota + 1
	Changed        // another content, or one that cannot be read
	OtherMode      // other permissions
	OtherKind      // a file in place of a link, and so on
	Extra          // the list does not have it
)

// Difference is something that differs from a list.
type Difference struct {
	What  What
	Path  string
	Entry *Entry // of the list; nil of what is extra
	Is    uint32 // the mode of what is there; 0: nothing is
}

// String is a sentence.
func (d *Difference) String() string {
	name := text.Mention(d.Path)
	switch d.What {
	case Missing:
		return name + " is missing"
	case Changed:
		return name + " has changed"
	case OtherMode:
		return fmt.Sprintf("%s has mode %04o, not %04o", name, d.Is&permissions, d.Entry.Mode&permissions)
	case OtherKind:
		return fmt.Sprintf("%s is %s, not %s", name, kindName(d.Is), kindName(d.Entry.Mode))
	}
	return name + " is extra"
}

func kindName(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "a file"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFLNK:
		return "a symbolic link"
	}
	return "something else"
}

const permissions = 0o7777

// settled is how long ago a file must have been changed, so that a further change certainly shows in its times: they
// have the resolution of the kernel's clock, or worse.
const settled = time.Second

// Looked is the result of a look at a directory.
type Looked struct {
	Differences []Difference // a directory before what is in it
	Learned     bool         // the list knows better now what right files look like
}

// Compare compares a directory with a list. extra: what the list has not differs, too, and so does a directory's mode.
// A file that looks as it did when it was right is not read. It gives ctx's cause when that ends.
func Compare(ctx context.Context, root *os.Root, list List, extra bool) (Looked, error) {
	return lookAt(ctx, root, &look{ctx: ctx, list: list, extra: extra})
}

// Describe has a list say what its entries look like now, which are known to be right: modes, and what was seen. What
// is not there is an error.
func Describe(ctx context.Context, root *os.Root, list List) error {
	looked, err := lookAt(ctx, root, &look{ctx: ctx, list: list, right: true})
	if err == nil && len(looked.Differences) > 0 {
		err = errors.New(looked.Differences[0].String())
	}
	return err
}

func lookAt(ctx context.Context, root *os.Root, l *look) (Looked, error) {
	l.below = map[string][]int{}
	for i := range l.list {
		dir := parentOf(l.list[i].Path)
		l.below[dir] = append(l.below[dir], i)
	}
	l.now = time.Now().Add(-settled).UnixNano()
	dir, err := root.Open(".")
	if err != nil {
		return Looked{}, err
	}
	err = errors.Join(l.dir(dir, ""), dir.Close())
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return l.Looked, err
}

// look is one look at a directory.
type look struct {
	ctx    context.Context
	list   List
	below  map[string][]int // the entries of a directory
	extra  bool
	right  bool  // all is right
	now    int64 // what was changed later can have been changed again; ns
	buffer []byte
	Looked
}

func (l *look) differs(what What, e *Entry, is uint32) {
	l.Differences = append(l.Differences, Difference{what, e.Path, e, is})
}

// dir looks at what is in a directory; nil: it is not there.
func (l *look) dir(dir *os.File, at string) error {
	var names map[string]bool
	if l.extra {
		names = make(map[string]bool, len(l.below[at]))
	}
	for _, i := range l.below[at] {
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		e := &l.list[i]
		if l.extra {
			names[path.Base(e.Path)] = true
		}
		if err := l.entry(dir, e); err != nil {
			return fmt.Errorf("look at %s: %w", text.Mention(e.Path), err)
		}
	}
	if !l.extra || dir == nil {
		return nil
	}
	return l.extras(dir, at, names)
}

// extras finds what the list has not.
func (l *look) extras(dir *os.File, at string, names map[string]bool) error {
	found, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("read directory %s: %w", text.Mention(at), err)
	}
	slices.Sort(found)
	for _, name := range found {
		if names[name] {
			continue
		}
		is, err := disk.StatAt(int(dir.Fd()), name)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		l.Differences = append(l.Differences, Difference{What: Extra, Path: path.Join(at, name), Is: is.Mode})
	}
	return nil
}

// entry looks at one entry, and at what is below it.
func (l *look) entry(dir *os.File, e *Entry) error {
	if dir == nil {
		l.differs(Missing, e, 0)
		return l.dir(nil, e.Path)
	}
	name := path.Base(e.Path)
	is, err := disk.StatAt(int(dir.Fd()), name)
	switch {
	case errors.Is(err, unix.ENOENT):
		l.differs(Missing, e, 0)
		return l.dir(nil, e.Path)
	case err != nil:
		return err
	case is.Mode&unix.S_IFMT != e.kind():
		l.differs(OtherKind, e, is.Mode)
		return l.dir(nil, e.Path)
	case l.right:
		e.Mode = is.Mode
	}
	switch e.kind() {
	case unix.S_IFDIR:
		return l.directory(dir, e, is.Mode)
	case unix.S_IFREG:
		return l.file(dir, e, &is)
	case unix.S_IFLNK:
		if target, err := disk.ReadLinkAt(int(dir.Fd()), name, tree.MaxLink+1); !l.right &&
			(err != nil || sha256.Sum256(target) != e.SHA256) {
			l.differs(Changed, e, is.Mode)
		}
		return nil
	}
	l.mode(e, is.Mode)
	return nil
}

// mode compares permissions.
func (l *look) mode(e *Entry, is uint32) {
	if is&permissions != e.Mode&permissions {
		l.differs(OtherMode, e, is)
	}
}

func (l *look) directory(dir *os.File, e *Entry, mode uint32) error {
	if l.extra { // else others may use it, too
		l.mode(e, mode)
	}
	below, err := disk.OpenAt(int(dir.Fd()), path.Base(e.Path), unix.O_DIRECTORY)
	switch {
	case errors.Is(err, unix.EACCES): // its mode says that it differs, or nobody was to read it
		return nil
	case err != nil:
		return err
	}
	return errors.Join(l.dir(below, e.Path), below.Close())
}

// file looks at a file, and reads it if it does not look as it did.
func (l *look) file(dir *os.File, e *Entry, is *disk.Stat) error {
	looks := Seen{is.Inode, is.Mtime, is.Ctime}
	switch {
	case l.right:
		e.Seen = l.seen(looks)
		return nil
	case is.Size == e.Size && (e.Seen == looks || e.SHA256 == (tree.SHA256{})):
	case is.Size == e.Size && l.reads(dir, e):
		if seen := l.seen(looks); seen != e.Seen {
			e.Seen, l.Learned = seen, true
		}
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	default:
		l.differs(Changed, e, is.Mode)
		return nil
	}
	l.mode(e, is.Mode)
	return nil
}

// seen is what can be relied on of how a file looks.
func (l *look) seen(looks Seen) Seen {
	if looks.Ctime >= l.now {
		return Seen{}
	}
	return looks
}

// reads tells whether a file has the content that it should have.
func (l *look) reads(dir *os.File, e *Entry) bool {
	f, err := disk.OpenAt(int(dir.Fd()), path.Base(e.Path), 0)
	if err != nil {
		return false
	}
	defer f.Close()
	sum, size, err := l.hash(f)
	return err == nil && size == e.Size && sum == e.SHA256
}

// hash reads a file to its end.
func (l *look) hash(f *os.File) (sum tree.SHA256, size int64, err error) {
	if l.buffer == nil {
		l.buffer = make([]byte, 256<<10)
	}
	hash := sha256.New()
	for {
		if l.ctx.Err() != nil {
			return sum, size, context.Cause(l.ctx)
		}
		n, err := f.Read(l.buffer)
		_, _ = hash.Write(l.buffer[:n]) // a hash never fails
		size += int64(n)
		if err == io.EOF {
			return tree.SHA256(hash.Sum(nil)), size, nil
		}
		if err != nil {
			return sum, size, err
		}
	}
}
