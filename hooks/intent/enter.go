package intent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// Enter keeps an uninstall from removing the hooks of the repository at gitDir until leave is called: a post-receive
// must be there to keep what a pre-receive promises, and checks run there. The kernel ends it with the process.
func Enter(gitDir string) (leave func(), err error) {
	leave, err = disk.TryShareDir(filepath.Dir(Dir(gitDir)))
	var locked *disk.LockedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() {}, nil // nothing is installed, and the config says what that means
	case errors.As(err, &locked):
		return nil, &fault.Error{Kind: fault.Refused, What: "refship's hooks are being removed from this repository",
			Remedy: "try again when that is done"}
	case err != nil:
		return nil, fmt.Errorf("enter push: %w", disk.WithoutDir(err))
	}
	return leave, nil
}

// AwaitPushes waits until no pre-receive runs, and keeps new ones out until leave is called.
func AwaitPushes(ctx context.Context, gitDir string) (leave func(), err error) {
	leave, err = LockDir(ctx, filepath.Dir(Dir(gitDir)), "a push to "+gitDir+" is being prepared")
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	return leave, err
}

// lockWaiting is how long one change of a directory of hooks waits for another.
const lockWaiting = 10 * time.Second

// LockDir waits for the lock of a directory; busy says what may keep it. The kernel gives the lock back when its
// process ends.
func LockDir(ctx context.Context, dir, busy string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWaiting, &fault.Error{
		Kind:   fault.Refused,
		What:   busy,
		Remedy: "try again when it has ended",
	})
	defer cancel()
	return disk.LockDir(ctx, dir)
}
