package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SyncTree puts everything below a directory on disk. On Linux it is one system call for the whole file system.
func SyncTree(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return errors.Join(&fs.PathError{Op: "sync", Path: root.Name(), Err: err}, dir.Close())
	}
	return dir.Close()
}

// RenameNew gives what is in a directory another name in it, that must not exist: fs.ErrExist if it does.
func RenameNew(root *os.Root, from, to string) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	at := int(dir.Fd())
	if err = renameat2("rename", at, from, to, unix.RENAME_NOREPLACE); err == nil {
		err = dir.Sync()
	}
	return errors.Join(err, dir.Close())
}

// Clone makes an empty file have what another one has, without a copy: later writes to one do not reach the other. It
// is an error where the file system cannot, and nothing is written then.
func Clone(to, from *os.File) error { return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) }

// Swap exchanges two files of one directory in one step. With *os.LinkError nothing has changed; it is
// errors.ErrUnsupported where the system cannot.
func Swap(a, b string) error {
	if err := renameat2("exchange", unix.AT_FDCWD, a, b, unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return Sync(filepath.Dir(b))
}

func renameat2(op string, dir int, from, to string, flags uint) error {
	if err := unix.Renameat2(dir, from, dir, to, flags); err != nil {
		return &os.LinkError{Op: op, Old: from, New: to, Err: err}
	}
	return nil
}
