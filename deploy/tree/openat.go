package tree

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"refship/deploy/disk"
)

// errNoFile: what was a file a moment ago is something else.
var errNoFile = errors.New("is not the file that it was")

// openFile opens a regular file, and nothing else.
func openFile(dir int, name string) (*os.File, os.FileInfo, error) {
	f, err := disk.OpenAt(dir, name, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// kindAt gives the S_IFMT bits of what has a name, of a link its own.
func kindAt(dir int, name string) (uint64, error) {
	s, err := disk.StatAt(dir, name)
	return uint64(s.Mode & unix.S_IFMT), err
}

func kindName(kind uint64) string {
	switch kind {
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	}
	return "no file"
}

// readLink gives where a link points to, or more than MaxLink bytes of it.
func readLink(dir int, name string) ([]byte, error) {
	target, err := disk.ReadLinkAt(dir, name, MaxLink+1)
	if errors.Is(err, unix.EINVAL) {
		err = errNoFile
	}
	return target, err
}
