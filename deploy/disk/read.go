package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
)

// errUnfit is the cause of an error about what is at a path. About: the path, and what is wrong with it.
var errUnfit = errors.New("not used")

func unfit(path, what, remedy string) error {
	return &fault.Error{
		Kind: fault.Failed, What: path + " " + what, Remedy: remedy, About: []string{path, what}, Cause: errUnfit,
	}
}

// Unfit tells an error about what is at a path, which is not used as a file or a directory, from those of the system:
// ok. It gives the path, and what is wrong with it, such as "is a FIFO, not a file".
func Unfit(err error) (path, what string, ok bool) {
	for e := (*fault.Error)(nil); errors.As(err, &e); err = e.Cause {
		if e.Cause == errUnfit { //nolint:errorlint // those that wrap it are about something else
			return e.About[0], e.About[1], true
		}
	}
	return "", "", false
}

// Open opens a regular file of at most limit bytes to read; [Unfit] if it is another kind of file, or longer. It
// waits for nobody: not for the other end of a FIFO, and not for a device, which is not even opened.
func Open(path string, limit int64) (*os.File, error) {
	if info, err := os.Stat(path); err == nil {
		if err := checkFile(path, info, limit); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat() // another file may have got the name since
	if err == nil {
		err = checkFile(path, info, limit)
	}
	if err != nil {
		_ = f.Close() // nothing was read
		return nil, err
	}
	return f, nil
}

// ReadFile reads what [Open] opens.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := Open(path, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit { // it has grown, or has a size that the system does not know
		return nil, tooLong(path, limit)
	}
	return data, nil
}

// CheckFile tells whether [Open] would open a file, for one that a library opens by itself.
func CheckFile(path string, limit int64) error {
	f, err := Open(path, limit)
	if err != nil {
		return err
	}
	return f.Close()
}

func checkFile(path string, info fs.FileInfo, limit int64) error {
	switch {
	case !info.Mode().IsRegular():
		return unfit(path, "is "+kindOf(info.Mode())+", not a file",
			"put a regular file in its place, or name another one")
	case info.Size() > limit:
		return tooLong(path, limit)
	}
	return nil
}

func tooLong(path string, limit int64) error {
	return unfit(path, fmt.Sprintf("has more than %d bytes", limit),
		"look at what is in that file: it is longer than any that is of use here")
}

// kindOf names what is no regular file.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "something else"
}
