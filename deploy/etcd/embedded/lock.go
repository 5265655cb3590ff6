package embedded

import (
	"errors"
	"fmt"
	"path/filepath"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// lockDir takes the lock file of dir. The file is never removed: a lock on an unlinked file keeps no other process out.
func lockDir(dir string) (unlock func(), err error) {
	unlock, err = disk.TryLock(filepath.Join(dir, "lock"))
	var locked *disk.LockedError
	if !errors.As(err, &locked) {
		return unlock, err
	}
	holder := "another process"
	if locked.PID != 0 {
		holder = fmt.Sprintf("process %d", locked.PID)
	}
	return nil, fault.New(fault.Conflict, fmt.Sprintf("etcd directory %s is in use by %s", dir, holder),
		"stop that process, or use another directory")
}
