package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Take gives the list of what is in a directory that a command has changed: differences are those from the earlier
// list. What is extra or has changed was made on the node; the list says what it is, and it is right from now on.
func Take(ctx context.Context, root *os.Root, list List, differences []Difference) (List, error) {
	t := &taking{look: look{ctx: ctx, now: time.Now().Add(-settled).UnixNano()}}
	list = slices.Clone(list)
	is, gone := list.paths(), map[int]bool{}
	for i := range differences {
		d := &differences[i]
		at, known := is[d.Path]
		switch {
		case known && d.What == OtherMode:
			list[at].Mode = d.Is
			continue
		case known:
			gone[at] = true
		}
		if d.What == Missing {
			continue
		}
		if err := t.at(root, d.Path); err != nil {
			return nil, fmt.Errorf("look at %s: %w", text.Mention(d.Path), err)
		}
	}
	kept := list[:0]
	for i := range list {
		if !gone[i] {
			kept = append(kept, list[i])
		}
	}
	return append(kept, t.made...), nil
}

// taking collects what was made.
type taking struct {
	look
	made List
}

// at takes what is at a path, and what is below it.
func (t *taking) at(root *os.Root, at string) error {
	dir, err := openParent(root, at)
	if err != nil {
		return err
	}
	defer dir.Close()
	return t.take(dir, at)
}

func (t *taking) take(dir *os.File, at string) error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	name := path.Base(at)
	is, err := disk.StatAt(int(dir.Fd()), name)
	if err != nil {
		return err
	}
	e := Entry{Path: at, Mode: is.Mode}
	switch e.kind() {
	case unix.S_IFREG:
		e.Size, e.Seen = is.Size, t.seen(Seen{is.Inode, is.Mtime, is.Ctime})
		err = t.content(dir, &e)
	case unix.S_IFLNK:
		target, wrong := disk.ReadLinkAt(int(dir.Fd()), name, tree.MaxLink+1)
		e.Size, e.SHA256, err = int64(len(target)), sha256.Sum256(target), wrong
	}
	if err != nil {
		return err
	}
	t.made = append(t.made, e)
	if !e.IsDir() {
		return nil
	}
	return t.below(dir, at)
}

// content reads a file that was made. One that nobody may read has no sha256.
func (t *taking) content(dir *os.File, e *Entry) error {
	f, err := disk.OpenAt(int(dir.Fd()), path.Base(e.Path), 0)
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	sum, size, err := t.hash(f)
	if err == nil && size != e.Size {
		err = errors.New("it is still being written")
	}
	e.SHA256 = sum
	return errors.Join(err, f.Close())
}

// below takes what is in a directory.
func (t *taking) below(dir *os.File, at string) error {
	in, err := disk.OpenAt(int(dir.Fd()), path.Base(at), unix.O_DIRECTORY)
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	names, err := in.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := t.take(in, path.Join(at, name)); err != nil {
			return err
		}
	}
	return nil
}

// openParent opens the directory that something is in, without a link on the way. The caller closes it.
func openParent(root *os.Root, at string) (*os.File, error) {
	top, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return disk.OpenBelow(int(top.Fd()), parentOf(at))
}
