package etcd

import (
	"errors"
	"fmt"
	"path/filepath"

	"refship/deploy/disk"
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

// lockDir takes the lock file of dir. The file is never removed: a lock on a
// file that has been unlinked keeps nobody out.
func lockDir(dir string) (unlock func(), err error) {
	unlock, err = disk.TryLock(filepath.Join(dir, "lock"))
	var locked *disk.LockedError
	if errors.As(err, &locked) {
		return nil, &BusyError{Dir: dir, PID: locked.PID}
	}
	return unlock, err
}
