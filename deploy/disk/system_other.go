//go:build !linux

package disk

import (
	"errors"
	"io/fs"
	"os"
)

// SyncTree puts everything below a directory on disk.
func SyncTree(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() && !e.IsDir() {
			return err
		}
		return syncIn(root, path)
	})
}

// RenameNew gives what is in a directory another name in it, that must not exist: fs.ErrExist if it does. Here one that
// another process makes at the same moment is replaced.
func RenameNew(root *os.Root, from, to string) error {
	if _, err := root.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	if err := root.Rename(from, to); err != nil {
		return err
	}
	return syncIn(root, ".")
}

func syncIn(root *os.Root, path string) error {
	f, err := root.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// follow finds what a path leads to. Whose the symbolic links on the way are is not looked at here.
func follow(path string, _ func(uid uint32) bool) (fs.FileInfo, error) { return os.Stat(path) }

// Swap exchanges two files of one directory in one step, which only Linux can: errors.ErrUnsupported.
func Swap(a, b string) error {
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: errors.ErrUnsupported}
}

// Clone is not there: a file is copied.
func Clone(_, _ *os.File) error { return errors.ErrUnsupported }
