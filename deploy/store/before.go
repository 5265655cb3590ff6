package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/tree"
)

const (
	// copiesTogether is how many files one goroutine takes at a time.
	copiesTogether = 64
	// copyBuffer is what is read of a file at once, in bytes.
	copyBuffer = 256 << 10
)

// before has the files of an earlier checkout, which may have been changed since. What is still right of them is cloned
// or copied, and not read from etcd.
type before struct {
	root    *os.Root
	top     *os.File    // root's directory
	noClone atomic.Bool // the file system cannot share blocks between two files
}

// copy makes those of the files that the earlier checkout has at the same path, and gives the others.
func (w *checkout) copy(ctx context.Context, files []place) (others []place, err error) {
	if w.before == nil {
		return files, nil
	}
	made := make([]bool, len(files))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for start := 0; start < len(files); start += copiesTogether {
		end := min(start+copiesTogether, len(files))
		group.Go(func() error {
			c := copier{before: w.before, to: w.root, buffer: make([]byte, copyBuffer)}
			c.old.top, c.new.top = w.before.top, w.top
			defer c.old.leave()
			defer c.new.leave()
			for i := start; i < end; i++ {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				made[i] = c.copy(files[i])
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, p := range files {
		if made[i] {
			w.count(p.entry.Size)
		} else {
			others = append(others, p)
		}
	}
	return others, nil
}

// copier copies files one after the other.
type copier struct {
	*before
	to       *os.Root
	old, new directory
	buffer   []byte
}

// copy makes one file below to, and tells whether it did: every byte of it was read again and is what was deployed.
// Whatever goes wrong, there is no file then, and it can be written from etcd; that says what is wrong with to.
func (c *copier) copy(p place) bool {
	switch {
	case p.entry.Mode == filemode.Symlink:
		return c.copyLink(c.to, p)
	case c.noClone.Load() && p.entry.Size <= int64(len(c.buffer)):
		return c.copySmall(p)
	}
	// Without waiting: a command may have put a FIFO there.
	from, err := c.root.OpenFile(p.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer from.Close()
	if info, err := from.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != p.entry.Size {
		return false
	}
	to, err := c.to.OpenFile(p.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, permissions(p.entry.Mode))
	if err != nil {
		return false
	}
	right := c.fill(to, from, p.entry, c.buffer)
	if err := to.Close(); err != nil || !right {
		_ = c.to.Remove(p.path) // if it stays, it cannot be made from etcd either, and that is told
		return false
	}
	return true
}

// copySmall is copy of a file that fits into the buffer, where nothing can be cloned, with a third of the system calls.
func (c *copier) copySmall(p place) bool {
	name, content := path.Base(p.path), c.buffer[:p.entry.Size]
	old, err := c.old.enter(p.path)
	if err != nil || disk.ReadFileAt(old, name, content) != nil {
		return false
	}
	sum := tree.NewContentHash(p.entry.OID.Format(), p.entry.Size)
	_, _ = sum.Write(content) // a hash never fails
	if !isRight(sum, p.entry) {
		return false
	}
	to, err := c.new.enter(p.path)
	if err == nil {
		err = disk.MakeAt(to, name, content, permissions(p.entry.Mode))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		_ = c.to.Remove(p.path)
	}
	return err == nil
}

func isRight(sum *tree.ContentHash, e tree.Entry) bool {
	return sum.SHA256() == e.SHA256 && sum.OID() == e.OID
}

// fill makes the content of a new file, and tells whether it is what was deployed.
func (b *before) fill(to, from *os.File, e tree.Entry, buffer []byte) bool {
	sum := tree.NewContentHash(e.OID.Format(), e.Size)
	if !b.noClone.Load() {
		if disk.Clone(to, from) == nil {
			n, err := io.CopyBuffer(sum, struct{ io.Reader }{to}, buffer)
			return err == nil && n == e.Size && isRight(sum, e)
		}
		b.noClone.Store(true)
	}
	both := io.MultiWriter(sum, to)
	n, err := io.CopyBuffer(both, io.LimitReader(from, e.Size+1), buffer)
	return err == nil && n == e.Size && isRight(sum, e)
}

func (b *before) copyLink(root *os.Root, p place) bool {
	target, err := b.root.Readlink(p.path)
	if err != nil {
		return false
	}
	sum := tree.NewContentHash(p.entry.OID.Format(), int64(len(target)))
	_, _ = io.Copy(sum, strings.NewReader(target)) // a hash never fails
	return isRight(sum, p.entry) && root.Symlink(target, p.path) == nil
}
