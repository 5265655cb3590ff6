//go:build !linux

package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// SyncTree puts everything below a directory on disk.
func SyncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() && !e.IsDir() {
			return err
		}
		return Sync(path)
	})
}

// RenameNew gives a file or directory a name that must not exist: fs.ErrExist if it does. Here one that another process
// makes at the same moment is replaced.
func RenameNew(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	}
	return Rename(from, to)
}

// Swap exchanges two files of one directory in one step, which only Linux can: errors.ErrUnsupported.
func Swap(a, b string) error {
	return &os.LinkError{Op: "exchange", Old: a, New: b, Err: errors.ErrUnsupported}
}
