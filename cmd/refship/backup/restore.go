package backup

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
)

// Destination is where a backup is restored.
type Destination struct {
	Dir string // absolute; must not exist, or be an empty directory
	// Etcd makes the files of an etcd in dir, which does not exist, out of a snapshot.
	Etcd     func(snapshotFile, dir string) error
	EtcdDir  string // below Dir
	Progress func(text.Progress)
}

// Restored is what was restored.
type Restored struct {
	Info
	Counts
}

// Restore makes a data directory of a backup, whole and on disk, with mode 0700, or nothing. It belongs to the
// process's user; where root restores into an empty directory, to the owner of that. Others must not be able to replace
// what is made ([disk.OpenSafe]).
func Restore(ctx context.Context, file string, d Destination) (_ *Restored, err error) {
	from, err := disk.Open(file, math.MaxInt64)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	defer from.Close()
	owner, err := d.check()
	if err != nil {
		return nil, err
	}
	parent, err := disk.OpenSafe(filepath.Dir(d.Dir)) // private keys go there, and root may give them away
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	defer parent.Close()
	temporary, err := os.MkdirTemp(filepath.Dir(d.Dir), "."+filepath.Base(d.Dir)+".restore-*")
	if err != nil {
		return nil, cannotMakeBeside(d.Dir, err)
	}
	defer func() {
		if err != nil {
			_ = disk.RemoveAll(temporary) // err says what went wrong
		}
	}()
	root, err := os.OpenRoot(temporary)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	const buffer = 1 << 20
	x := &extraction{
		ctx: ctx, tar: tar.NewReader(bufio.NewReaderSize(from, buffer)), root: root, progress: d.Progress,
	}
	if err := x.run(); err != nil {
		return nil, err
	}
	if err := d.restoreEtcd(temporary); err != nil {
		return nil, err
	}
	if err := giveTo(temporary, owner); err != nil {
		return nil, err
	}
	if err := disk.SyncTree(root); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := unix.Rename(temporary, d.Dir); err != nil { // os.Rename replaces no directory, not even an empty one
		return nil, cannotMakeBeside(d.Dir, &os.LinkError{Op: "rename", Old: temporary, New: d.Dir, Err: err})
	}
	if err := disk.Sync(filepath.Dir(d.Dir)); err != nil {
		return nil, err
	}
	return &Restored{x.info, x.counts}, nil
}

// check refuses a place where something is. It gives the owner of an empty directory, nil if there is none.
func (d *Destination) check() (owner *syscall.Stat_t, err error) {
	const remedy = "name a directory that does not exist, or an empty one"
	info, err := os.Lstat(d.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("restore: %w", err)
	case !info.IsDir():
		return nil, fault.New(fault.Failed, d.Dir+" exists, and is no directory", remedy)
	}
	inside, err := os.ReadDir(d.Dir)
	switch {
	case err != nil:
		return nil, fmt.Errorf("restore: %w", err)
	case len(inside) > 0:
		return nil, fault.New(fault.Failed, d.Dir+" is not empty", remedy+"; a restore replaces nothing")
	}
	owner, _ = info.Sys().(*syscall.Stat_t)
	return owner, nil
}

// cannotMakeBeside explains why a directory cannot be made beside another one, or take its place.
func cannotMakeBeside(dir string, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		remedy = "it is made beside " + dir + " first, so that it is whole or not there: run this as a user who may " +
			"write to " + filepath.Dir(dir) + ", such as root; where " + dir + " is there and empty, " +
			"all of it will belong to its owner"
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EXDEV):
		remedy = dir + " seems to be a mount point: restore to a new directory below it, then move what is in that one up"
	}
	return &fault.Error{Kind: fault.Failed, What: "restore: " + err.Error(), Remedy: remedy, Cause: err}
}

// restoreEtcd makes etcd's files, if there is a snapshot, which is not needed any more then.
func (d *Destination) restoreEtcd(temporary string) error {
	snapshot := filepath.Join(temporary, snapshotEntry)
	if _, err := os.Lstat(snapshot); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d.Progress(text.Progress{Step: "restoring etcd"})
	if err := d.Etcd(snapshot, filepath.Join(temporary, d.EtcdDir)); err != nil {
		return err
	}
	return os.Remove(snapshot)
}

// giveTo makes root give away what it has made for another user.
func giveTo(dir string, owner *syscall.Stat_t) error {
	if owner == nil || os.Geteuid() != 0 || owner.Uid == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}
