package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"refship/deploy/fault"

	"golang.org/x/sys/unix"
)

// temporarySuffix ends the names of files that are about to get their place: ".NAME.refship-tmp". Dispatchers that run
// all of a directory leave out names that begin with a dot.
const temporarySuffix = ".refship-tmp"

func temporaryName(name string) string { return "." + name + temporarySuffix }

// SharedMode is the mode of directories that refship makes in the repository at gitDir: that of its objects, since
// whoever may put objects there (core.sharedRepository) may push.
func SharedMode(gitDir string) (fs.FileMode, error) {
	info, err := os.Stat(filepath.Join(gitDir, "objects"))
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm() | info.Mode()&fs.ModeSetgid | 0o700, nil
}

// readable takes from a directory's mode that of a file in it: whoever can look into the directory can read it, and only
// its owner can write.
func readable(dir fs.FileMode) fs.FileMode {
	mode := fs.FileMode(0o600)
	for _, x := range []fs.FileMode{0o010, 0o001} {
		if dir&x != 0 {
			mode |= x << 2
		}
	}
	return mode
}

// executable is the same of a program.
func executable(dir fs.FileMode) fs.FileMode {
	mode := readable(dir)
	return mode | (mode&0o444)>>2
}

// sameDir tells two names of one directory.
func sameDir(a, b string) bool {
	if a == b {
		return true
	}
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// makeDir makes a directory of that mode, whatever the umask is, synced; false: it was there.
func makeDir(path string, mode fs.FileMode) (made bool, err error) {
	err = os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return true, err
	}
	return true, syncFile(filepath.Dir(path))
}

// putFile makes or replaces a file, whole or not at all. Who calls it is alone in the directory.
func putFile(path string, text []byte, mode fs.FileMode) error {
	temporary, err := writeTemporary(path, text, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		os.Remove(temporary)
		return err
	}
	return syncFile(filepath.Dir(path))
}

// writeTemporary writes what is to be renamed to path.
func writeTemporary(path string, text []byte, mode fs.FileMode) (name string, err error) {
	name = filepath.Join(filepath.Dir(path), temporaryName(filepath.Base(path)))
	os.Remove(name) // of one that died
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(name)
	}
	return name, err
}

// removeFile removes a file that may be gone already, synced.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFile(filepath.Dir(path))
}

// moveHook renames a hook within its directory, synced.
func moveHook(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFile(filepath.Dir(to))
}

// setAside puts our hook in the place of another, which gets the name aside, so that at no moment neither is there. A
// second name for the same file comes first, then ours is renamed over the first name. Where the system allows no
// second name (a file that belongs to another user: fs.protected_hardlinks), both names are exchanged in one step.
func setAside(hook, aside string, text []byte, mode fs.FileMode, step func(string)) error {
	temporary, err := writeTemporary(hook, text, mode)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	switch err := os.Link(hook, aside); {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported):
		return exchange(hook, aside, temporary, step)
	case err != nil:
		return err
	}
	if err := syncFile(filepath.Dir(hook)); err != nil {
		return err
	}
	step(filepath.Base(hook) + "-linked")
	return moveHook(temporary, hook)
}

// exchange is the way without a second name: ours is at aside first, where nobody runs it.
func exchange(hook, aside, temporary string, step func(string)) error {
	if err := moveHook(temporary, aside); err != nil {
		return err
	}
	step(filepath.Base(hook) + "-aside")
	if err := swapNames(hook, aside); err != nil {
		os.Remove(aside)
		return fmt.Errorf("exchange %s and %s: %w", hook, aside, err)
	}
	return syncFile(filepath.Dir(hook))
}

// lockWaiting is how long one change of a directory of hooks waits for another.
const lockWaiting = 10 * time.Second

// lockDir waits until nobody else has the directory locked; busy is what may be going on there. The kernel gives the lock back when its holder ends.
func lockDir(ctx context.Context, dir, busy string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWaiting, &fault.Error{
		Kind:   fault.Refused,
		What:   busy,
		Remedy: "try again when it has ended",
	})
	defer cancel()
	for {
		f, err := os.Open(dir)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isStill(f) {
			return func() { _ = f.Close() }, nil
		}
		_ = f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
