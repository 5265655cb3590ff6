package hooks

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"refship/deploy"
	"refship/deploy/disk"
)

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

// setAside puts our hook in the place of another, which gets the name aside, so that at no moment neither is there. A
// second name for the same file comes first, then ours is renamed over the first name. Where the system allows no
// second name (a file that belongs to another user: fs.protected_hardlinks), both names are exchanged in one step.
func setAside(hook, aside string, text []byte, mode fs.FileMode, step func(string)) error {
	temporary, err := disk.WriteTemporary(hook, text, mode)
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
	if err := disk.Sync(filepath.Dir(hook)); err != nil {
		return err
	}
	step(filepath.Base(hook) + "-linked")
	return disk.Rename(temporary, hook)
}

// exchange is the way without a second name: ours is at aside first, where nobody runs it.
func exchange(hook, aside, temporary string, step func(string)) error {
	if err := disk.Rename(temporary, aside); err != nil {
		return err
	}
	step(filepath.Base(hook) + "-aside")
	err := disk.Swap(hook, aside)
	if failed := (*os.LinkError)(nil); errors.As(err, &failed) { // then aside still is ours
		os.Remove(aside)
	}
	return err
}

// lockWaiting is how long one change of a directory of hooks waits for another.
const lockWaiting = 10 * time.Second

// lockDir waits until nobody else has the directory locked; busy is what may be going on there. The kernel gives the lock back when its holder ends.
func lockDir(ctx context.Context, dir, busy string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWaiting, &deploy.RefusedError{
		What:   busy,
		Remedy: "try again when it has ended",
	})
	defer cancel()
	return disk.LockDir(ctx, dir)
}
