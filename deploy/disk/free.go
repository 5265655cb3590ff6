package disk

import (
	"io/fs"
	"math"

	"golang.org/x/sys/unix"
)

// Free is how many bytes an ordinary user may still write on the disk of a file or directory. Where the file system
// does not tell its size, it is math.MaxInt64.
func Free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	if s.Blocks == 0 {
		return math.MaxInt64, nil
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // other systems have other types there
}
