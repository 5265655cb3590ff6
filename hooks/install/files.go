package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"refship/deploy/disk"
)

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

// scratchDir is where the checks of installed hooks run, below <GIT_DIR>/refship.
const scratchDir = "checks"
