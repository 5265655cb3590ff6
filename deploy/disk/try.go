package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// TryWrite finds out whether a directory takes files: it writes a small temporary one ([IsTemporary]), syncs it, and
// removes it.
func TryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".try.*"+temporarySuffix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 4096))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// CannotStore tells whether an error is of a disk that takes no more, or not from this account: it is full or
// read-only, a quota is used up, it fails, or permissions are missing.
func CannotStore(err error) bool {
	for _, number := range []error{
		unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EFBIG, unix.EACCES, unix.EPERM, unix.ESTALE, unix.ENOTDIR,
	} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
