package disk

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links the kernel follows on one way (path_resolution(7)).
const maxLinks = 40

// follow finds what a path leads to, as the kernel does, but goes only by symbolic links that are ours. Every element
// is opened and looked at before it is used, so that a link cannot become another one in between.
func follow(path string, isOurs func(uid uint32) bool) (fs.FileInfo, error) {
	fail := func(err error) error { return &fs.PathError{Op: "open", Path: path, Err: err} }
	start := func(path string) (*os.File, error) {
		if strings.HasPrefix(path, "/") {
			return openElement(unix.AT_FDCWD, "/")
		}
		return openElement(unix.AT_FDCWD, ".")
	}
	at, err := start(path)
	if err != nil {
		return nil, fail(err)
	}
	defer func() { _ = at.Close() }() // the last one: nothing was read from it
	links := 0
	for left := strings.Split(path, "/"); len(left) > 0; {
		name := left[0]
		if left = left[1:]; name == "" {
			continue
		}
		next, err := openElement(int(at.Fd()), name)
		if err != nil {
			return nil, fail(err)
		}
		info, err := next.Stat()
		if err == nil && info.Mode()&fs.ModeSymlink == 0 {
			_ = at.Close() // as above
			at = next
			continue
		}
		var to string
		if err == nil {
			to, err = readElement(next, path, info, isOurs)
		}
		_ = next.Close() // as above
		if links++; err == nil && links > maxLinks {
			err = fail(unix.ELOOP)
		}
		if err != nil {
			return nil, err
		}
		left = append(strings.Split(to, "/"), left...)
		if strings.HasPrefix(to, "/") {
			_ = at.Close() // as above
			if at, err = start(to); err != nil {
				return nil, fail(err)
			}
		}
	}
	return at.Stat()
}

// openElement opens what has a name in a directory, of a link itself, without any right to what is in it.
func openElement(dir int, name string) (*os.File, error) {
	for {
		fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, err
		}
	}
}

// readElement gives where a link on the way leads to, if it is ours.
func readElement(link *os.File, path string, info fs.FileInfo, isOurs func(uid uint32) bool) (string, error) {
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !isOurs(stat.Uid) {
		return "", unfit(path, "goes through a symbolic link, "+link.Name()+", that belongs to another user",
			"name the directory itself, without that link")
	}
	to := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(link.Fd()), "", to)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(to[:n]), nil
}
