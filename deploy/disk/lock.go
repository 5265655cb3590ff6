package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockedError says that another process, or another goroutine of this one, has a lock.
type LockedError struct {
	Path string
	PID  int // of the holder; 0 if it is not known
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return e.Path + " is locked by another process"
	}
	return fmt.Sprintf("%s is locked by process %d", e.Path, e.PID)
}

// Lock waits until it has the lock file at path. It ends with the context's cause if the context ends first.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	return wait(ctx, func() (*os.File, error) { return openLock(path) })
}

// TryLock takes the lock file at path and writes this process's id into it; *LockedError if another has it.
func TryLock(path string) (unlock func(), err error) {
	f, err := try(unix.LOCK_EX, func() (*os.File, error) { return openLock(path) })
	var locked *LockedError
	if errors.As(err, &locked) {
		locked.PID = readPID(path)
	}
	if err != nil {
		return nil, err
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return release(f), nil
}

// LockDir waits until it has the lock on a directory, which must exist: fs.ErrNotExist. It ends with the context's
// cause if the context ends first.
func LockDir(ctx context.Context, dir string) (unlock func(), err error) {
	return wait(ctx, func() (*os.File, error) { return openDir(dir) })
}

// TryShareDir takes a shared lock on a directory, which must exist: fs.ErrNotExist. Shared locks exclude only
// [LockDir]; *LockedError if that has it.
func TryShareDir(dir string) (unlock func(), err error) {
	f, err := try(unix.LOCK_SH, func() (*os.File, error) { return openDir(dir) })
	if err != nil {
		return nil, err
	}
	return release(f), nil
}

// release makes what gives a lock back. Closing does that, and its error changes nothing: the lock is gone with the
// descriptor.
func release(f *os.File) func() { return func() { _ = f.Close() } }

func openDir(dir string) (*os.File, error) { return os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0) }

func openLock(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		if err := checkFile(path, info, maxLock); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
}

// maxLock is more than a lock file has, in bytes: a process's id.
const maxLock = 1 << 20

// Waiting for a lock is trying it again: flock(2) itself knows no context. The pause grows from the first to the
// second.
const (
	shortestPause = time.Millisecond
	longestPause  = 20 * time.Millisecond
)

func wait(ctx context.Context, open func() (*os.File, error)) (unlock func(), err error) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		f, err := try(unix.LOCK_EX, open)
		if err == nil {
			return release(f), nil
		}
		if locked := (*LockedError)(nil); !errors.As(err, &locked) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// try takes a lock or gives *LockedError. A file that is no longer at its name when its lock is taken excludes no other
// process: then the one that is there now is opened.
func try(how int, open func() (*os.File, error)) (*os.File, error) {
	for {
		f, err := open()
		if err != nil {
			return nil, err
		}
		switch err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); {
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, errors.Join(&LockedError{Path: f.Name()}, f.Close())
		case err == nil && isAt(f, os.Stat): // symbolic links are followed, as opening a directory does
			return f, nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(&fs.PathError{Op: "lock", Path: f.Name(), Err: err}, f.Close())
		}
		_ = f.Close() // nothing was written, and it is opened again
	}
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// readPID reads what writePID wrote; 0 if that is not there yet.
func readPID(path string) int {
	data, err := ReadFile(path, maxLock)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}
