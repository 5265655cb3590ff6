package tree

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Opening below a directory without following a link, in no element of the path: os.Root follows those that stay
// inside, whatever flags it is given.

// errNoFile: what was a file a moment ago is something else.
var errNoFile = errors.New("is not the file that it was")

const readOnly = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// openAt opens what is to be read. A link is ELOOP, or ENOTDIR where a directory is wanted; a FIFO is not waited for.
func openAt(dir int, name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|readOnly, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
}

// openBelow opens a directory at a path below another; "" and "." are that itself.
func openBelow(root int, path string) (*os.File, error) {
	at, err := openAt(root, ".", unix.O_DIRECTORY)
	if err != nil || path == "" || path == "." {
		return at, err
	}
	for name := range strings.SplitSeq(path, "/") {
		below, err := openAt(int(at.Fd()), name, unix.O_DIRECTORY)
		_ = at.Close() // it was only read from
		if err != nil {
			return nil, err
		}
		at = below
	}
	return at, nil
}

// openFile opens a regular file, and nothing else.
func openFile(dir int, name string) (*os.File, os.FileInfo, error) {
	f, err := openAt(dir, name, 0)
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
	var s unix.Stat_t
	for {
		err := unix.Fstatat(dir, name, &s, unix.AT_SYMLINK_NOFOLLOW)
		if !errors.Is(err, unix.EINTR) {
			return uint64(s.Mode) & unix.S_IFMT, err
		}
	}
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
	target := make([]byte, MaxLink+1)
	for {
		n, err := unix.Readlinkat(dir, name, target)
		switch {
		case err == nil:
			return target[:n], nil
		case errors.Is(err, unix.EINVAL):
			return nil, errNoFile
		case !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
}
