package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// EnterPush keeps uninstall from taking the hooks out of the repository at gitDir until leave is called: what a pre-receive
// promises, a post-receive must be there to keep, and checks run there. The kernel ends it with the process.
func EnterPush(gitDir string) (leave func(), err error) {
	leave, err = disk.TryShareDir(filepath.Dir(pendingDir(gitDir)))
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

// awaitPushes waits until no pre-receive runs, and keeps new ones out until leave is called.
func awaitPushes(ctx context.Context, gitDir string) (leave func(), err error) {
	leave, err = lockDir(ctx, filepath.Dir(pendingDir(gitDir)), "a push to "+gitDir+" is being prepared")
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	return leave, err
}
