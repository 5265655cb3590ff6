package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BusyError says that another process, or another Embedded of this one, runs
// etcd in Dir.
type BusyError struct {
	Dir string
	PID int // of the holder; 0 if it has not written it yet
}

func (e *BusyError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("etcd directory %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("etcd directory %s is in use by process %d", e.Dir, e.PID)
}

// Hint says what to do about it.
func (e *BusyError) Hint() string {
	return "one server runs per data directory: stop that process, or give another --data-dir"
}

// lockDir takes the lock file of dir and writes this process's pid into it.
// The kernel releases a flock with its process, however that ends, so there are
// no stale locks. The file is never removed: a lock on a file that has been
// unlinked keeps nobody out.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		pid := readPID(name)
		_ = file.Close()
		return nil, &BusyError{Dir: dir, PID: pid}
	}
	if err == nil {
		err = writePID(file)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return file, nil
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPID(name string) int {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}
