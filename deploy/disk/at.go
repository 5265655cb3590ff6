package disk

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Opening below a directory without following a link, in no element of the path: os.Root follows those that stay
// inside, whatever flags it is given.

const readOnly = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC

// OpenAt opens what has a name in an open directory, for reading and with further flags. A link is ELOOP, or ENOTDIR
// where a directory is wanted (unix.O_DIRECTORY); a FIFO is not waited for. Errors are the system's numbers.
func OpenAt(dir int, name string, flags int) (*os.File, error) {
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

// OpenBelow opens a directory at a path below another; "" and "." are that itself. It is OpenAt for each element.
func OpenBelow(root int, path string) (*os.File, error) {
	at, err := OpenAt(root, ".", unix.O_DIRECTORY)
	if err != nil || path == "" || path == "." {
		return at, err
	}
	for name := range strings.SplitSeq(path, "/") {
		below, err := OpenAt(int(at.Fd()), name, unix.O_DIRECTORY)
		_ = at.Close() // it was only read from
		if err != nil {
			return nil, err
		}
		at = below
	}
	return at, nil
}

// ReadFileAt reads a regular file in an open directory, which must have as many bytes as content, into that. What is no
// file of that size is ErrOther. It is to reading what [MakeAt] is to writing.
func ReadFileAt(dir int, name string, content []byte) error {
	fd, err := unix.Openat(dir, name, readOnly, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(dir, name, readOnly, 0)
	}
	if err != nil {
		return err
	}
	return errors.Join(readAll(fd, content), unix.Close(fd))
}

// ErrOther is the error of ReadFileAt for what is not what it was to be.
var ErrOther = errors.New("is no file of that size")

func readAll(fd int, content []byte) error {
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return err
	}
	if s.Mode&unix.S_IFMT != unix.S_IFREG || s.Size != int64(len(content)) {
		return ErrOther
	}
	for len(content) > 0 {
		n, err := unix.Read(fd, content)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0: // it was cut off meanwhile
			return ErrOther
		default:
			content = content[n:]
		}
	}
	return nil
}

// MakeAt makes a file of that content in an open directory; the umask takes its share of the mode. Where the name is
// taken, by a link, too, it is EEXIST. An error may leave a part of the file. It takes a third of the system calls of
// an os.File, which asks whether it can be waited for. Errors are the system's numbers.
func MakeAt(dir int, name string, content []byte, mode fs.FileMode) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, uint32(mode.Perm()))
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(dir, name, flags, uint32(mode.Perm()))
	}
	if err != nil {
		return err
	}
	for len(content) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, content); errors.Is(err, unix.EINTR) {
			n, err = 0, nil
		}
		content = content[max(n, 0):]
	}
	return errors.Join(err, unix.Close(fd))
}

// Stat is what a file system says of a file, a link, a directory or whatever else has a name.
type Stat struct {
	Mode         uint32 // unix.S_IFMT and 07777
	Size         int64  // bytes
	Inode        uint64
	Mtime, Ctime int64 // ns since 1970
}

// StatAt describes what has a name in an open directory; of a link, the link itself. Errors are the system's numbers.
func StatAt(dir int, name string) (Stat, error) {
	var s unix.Stat_t
	for {
		err := unix.Fstatat(dir, name, &s, unix.AT_SYMLINK_NOFOLLOW)
		if !errors.Is(err, unix.EINTR) {
			return statOf(&s), err
		}
	}
}

func statOf(s *unix.Stat_t) Stat {
	return Stat{
		Mode: uint32(s.Mode), //nolint:unconvert // it has 16 bits elsewhere
		Size: s.Size, Inode: s.Ino, Mtime: s.Mtim.Nano(), Ctime: s.Ctim.Nano(),
	}
}

// ReadLinkAt gives where a link in an open directory leads to, and no more than that many bytes of it. What is no link
// is unix.EINVAL.
func ReadLinkAt(dir int, name string, most int) ([]byte, error) {
	target := make([]byte, most)
	for {
		n, err := unix.Readlinkat(dir, name, target)
		switch {
		case err == nil:
			return target[:n], nil
		case !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
}
