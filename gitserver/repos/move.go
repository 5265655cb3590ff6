package repos

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// useWaiting is how long a rename or removal waits for what uses the repository.
const useWaiting = 5 * time.Second

// removing begins the name of a repository that is being removed.
const removing = ".removed-"

// Use keeps a repository from being renamed or removed until release is called: a push works with its directory from
// beginning to end. The kernel ends it with the process. Errors: ErrUnknown; that it is being renamed or removed.
func (r Dir) Use(name string) (release func(), err error) {
	dir, err := r.Locate(name)
	if err != nil {
		return nil, err
	}
	release, err = disk.TryShareDir(dir)
	var locked *disk.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, fault.New(fault.Failed, fmt.Sprintf("repository %s is being renamed or removed", name),
			"try again when that is done")
	case errors.Is(err, fs.ErrNotExist):
		return nil, unknownError(name)
	case err != nil:
		return nil, fmt.Errorf("use repository %s: %w", name, disk.WithoutDir(err))
	}
	return release, nil
}

// Rename gives a repository another name; its targets, with their namespaces, stay as they are. While nothing uses it,
// check looks at its directory, and may refuse. It has the one name or the other at any moment. Errors: ErrUnknown;
// ReasonExists; what check says; fault.Conflict, if it is in use for too long.
func (r Dir) Rename(ctx context.Context, name, to string, check func(dir string) error) error {
	if err := CheckName(to); err != nil {
		return err
	}
	return r.alone(ctx, name, check, func(dir string) error {
		if err := r.checkFree(to); err != nil {
			return err
		}
		dst := r.path(to)
		if err := disk.MkdirAll(filepath.Dir(dst), 0o700); err != nil {
			return err
		}
		// First the words for who pushes by path: they are for this repository under either name.
		hook := filepath.Join(dir, "hooks", "pre-receive")
		if err := disk.WriteFile(hook, fmt.Appendf(nil, refusingHook, to), 0o700); err != nil {
			return err
		}
		if err := r.move(dir, dst); err != nil {
			return err
		}
		r.removeEmpty(name)
		return nil
	})
}

// Remove removes a repository with all that was pushed to it; what is in etcd stays. While nothing uses it, check looks
// at its directory, and may refuse. It is gone at once or not at all. Errors: ErrUnknown; what check says;
// fault.Conflict, if it is in use for too long.
func (r Dir) Remove(ctx context.Context, name string, check func(dir string) error) error {
	return r.alone(ctx, name, check, func(dir string) error {
		gone, err := os.MkdirTemp(filepath.Dir(dir), removing)
		if err != nil {
			return err
		}
		if err := r.move(dir, filepath.Join(gone, "git")); err != nil {
			return errors.Join(err, os.Remove(gone))
		}
		if err := disk.RemoveAll(gone); err != nil {
			return fault.New(fault.Failed, fmt.Sprintf("the repository is gone, and %s cannot be removed: %v", gone, err),
				"remove it by hand")
		}
		r.removeEmpty(name)
		return nil
	})
}

// alone does something with a repository that nothing uses meanwhile.
func (r Dir) alone(ctx context.Context, name string, check, do func(dir string) error) error {
	return r.change(ctx, name, func(dir string) error {
		waiting, cancel := context.WithTimeoutCause(ctx, useWaiting, fault.New(fault.Conflict,
			"a push or deploy is running, or the server's upkeep, or a backup", "try again when that has ended"))
		defer cancel()
		release, err := disk.LockDir(waiting, dir)
		if errors.Is(err, fs.ErrNotExist) {
			return unknownError(name)
		}
		if err != nil {
			return err
		}
		defer release()
		if err := check(dir); err != nil {
			return err
		}
		return do(dir)
	})
}

// move renames a repository's directory. Both directories that it is in are synced.
func (r Dir) move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(disk.Sync(filepath.Dir(to)), disk.Sync(filepath.Dir(from)))
}

// removeEmpty removes the directories of a name that has gone, as far as they are empty.
func (r Dir) removeEmpty(name string) {
	for group := path.Dir(name); group != "."; group = path.Dir(group) {
		if os.Remove(filepath.Join(r.Path, filepath.FromSlash(group))) != nil {
			return
		}
	}
}

// checkFree refuses the name of a repository that there is. The caller holds the lock.
func (r Dir) checkFree(name string) error {
	if _, err := os.Lstat(r.path(name)); err == nil {
		return &fault.Error{
			Kind: fault.Failed, What: fmt.Sprintf("repository %s exists already", name),
			Reason: ReasonExists, About: []string{name},
		}
	}
	return nil
}
