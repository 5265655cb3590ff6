package stale

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"refship/deploy/disk"
	"refship/deploy/git"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Found is what a repository has of it.
type Found struct {
	Files     []string // files and folders to remove, relative to the git directory
	EmptyRefs []string // refs that a broken disk has emptied: only a person can mend them
}

// Find looks into the repository at gitDir.
func Find(gitDir string) (*Found, error) {
	loose, err := git.ReadLoose(gitDir)
	if err != nil {
		return nil, err
	}
	found := &Found{EmptyRefs: loose.Empty}
	isOld := func(since time.Time) bool { return time.Since(since) > target.MaxConfigEdit }
	for _, lock := range loose.Locks {
		if lock.Path != "config.lock" || isOld(lock.Since) {
			found.Files = append(found.Files, lock.Path)
		}
	}
	for _, name := range []string{target.ConfigEdit, target.ConfigEdit + ".lock"} {
		if info, err := os.Lstat(filepath.Join(gitDir, name)); err == nil && isOld(info.ModTime()) {
			found.Files = append(found.Files, name)
		}
	}
	objects, err := os.ReadDir(filepath.Join(gitDir, "objects"))
	if err != nil {
		return nil, fmt.Errorf("look for stale quarantines: %w", err)
	}
	for _, e := range objects {
		if e.IsDir() && git.IsQuarantine(e.Name()) {
			found.Files = append(found.Files, filepath.Join("objects", e.Name()))
		}
	}
	intents, err := os.ReadDir(intent.Dir(gitDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for stale intents: %w", err)
	}
	for _, e := range intents {
		if disk.IsTemporary(e.Name()) {
			found.Files = append(found.Files, filepath.Join("refship", "pending", e.Name()))
		}
	}
	return found, nil
}
