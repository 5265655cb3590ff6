package store

import (
	"context"
	"io"
	"os"
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
			buffer := make([]byte, copyBuffer)
			for i := start; i < end; i++ {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				made[i] = w.before.copy(w.root, files[i], buffer)
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

// copy makes one file below root, and tells whether it did: every byte of it was read again and is what was deployed.
// Whatever goes wrong, there is no file then, and it can be written from etcd; that says what is wrong with root.
func (b *before) copy(root *os.Root, p place, buffer []byte) bool {
	if p.entry.Mode == filemode.Symlink {
		return b.copyLink(root, p)
	}
	// Without waiting: a command may have put a FIFO there.
	from, err := b.root.OpenFile(p.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer from.Close()
	if info, err := from.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != p.entry.Size {
		return false
	}
	to, err := root.OpenFile(p.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, permissions(p.entry.Mode))
	if err != nil {
		return false
	}
	right := b.fill(to, from, p.entry, buffer)
	if err := to.Close(); err != nil || !right {
		_ = root.Remove(p.path) // if it stays, it cannot be made from etcd either, and that is told
		return false
	}
	return true
}

// fill makes the content of a new file, and tells whether it is what was deployed.
func (b *before) fill(to, from *os.File, e tree.Entry, buffer []byte) bool {
	sum := tree.NewContentHash(e.OID.Format(), e.Size)
	if !b.noClone.Load() {
		if disk.Clone(to, from) == nil {
			n, err := io.CopyBuffer(sum, struct{ io.Reader }{to}, buffer)
			return err == nil && n == e.Size && sum.SHA256() == e.SHA256 && sum.OID() == e.OID
		}
		b.noClone.Store(true)
	}
	both := io.MultiWriter(sum, to)
	n, err := io.CopyBuffer(both, io.LimitReader(from, e.Size+1), buffer)
	return err == nil && n == e.Size && sum.SHA256() == e.SHA256 && sum.OID() == e.OID
}

func (b *before) copyLink(root *os.Root, p place) bool {
	target, err := b.root.Readlink(p.path)
	if err != nil {
		return false
	}
	sum := tree.NewContentHash(p.entry.OID.Format(), int64(len(target)))
	_, _ = io.Copy(sum, strings.NewReader(target)) // a hash never fails
	return sum.SHA256() == p.entry.SHA256 && sum.OID() == p.entry.OID && root.Symlink(target, p.path) == nil
}
