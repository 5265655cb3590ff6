package keys

import (
	"context"
	"path/filepath"

	"refship/deploy/disk"
)

// lock waits until no other process and no other goroutine changes path, whose directory it makes (0700) if needed.
// It removes what a crash left of an earlier change.
func lock(path string) (unlock func(), err error) {
	if err := disk.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if unlock, err = disk.Lock(context.Background(), path+".lock"); err != nil {
		return nil, err
	}
	for _, file := range []string{path, path + ".pub"} {
		if err := disk.RemoveTemporary(file); err != nil {
			unlock()
			return nil, err
		}
	}
	return unlock, nil
}
