package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SyncTree puts everything below a directory on disk. On Linux it is one system call for the whole file system.
func SyncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return errors.Join(&fs.PathError{Op: "sync", Path: dir, Err: err}, f.Close())
	}
	return f.Close()
}

// RenameNew gives a file or directory a name that must not exist: fs.ErrExist if it does.
func RenameNew(from, to string) error {
	if err := renameat2("rename", from, to, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	return Sync(filepath.Dir(to))
}

// Swap exchanges two files of one directory in one step. With *os.LinkError nothing has changed; it is
// errors.ErrUnsupported where the system cannot.
func Swap(a, b string) error {
	if err := renameat2("exchange", a, b, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return Sync(filepath.Dir(b))
}

func renameat2(op, from, to string, flags uint) error {
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags); err != nil {
		return &os.LinkError{Op: op, Old: from, New: to, Err: err}
	}
	return nil
}
