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

// Enter keeps uninstall from taking the hooks out of the repository at gitDir until leave is called: what a pre-receive
// promises, a post-receive must be there to keep, and checks run there. The kernel ends it with the process.
func Enter(gitDir string) (leave func(), err error) {
	leave, err = disk.TryShareDir(filepath.Dir(Dir(gitDir)))
	var locked *disk.LockedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return func() {}, nil // nothing is installed, and the config says what that means
	case errors.As(err, &locked):
		return nil, &fault.Error{Kind: fault.Refused, What: "refship's hooks are just being taken out of this repository", Remedy: "try again when that is done"}
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

// LockDir waits until nobody else has the directory locked; busy is what may be going on there. The kernel gives the lock back when its holder ends.
func LockDir(ctx context.Context, dir, busy string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockWaiting, &fault.Error{
		Kind:   fault.Refused,
		What:   busy,
		Remedy: "try again when it has ended",
	})
	defer cancel()
	return disk.LockDir(ctx, dir)
}
