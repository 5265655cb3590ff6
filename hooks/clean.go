package hooks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/git"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// clean removes what git processes that died leave behind and later ones trip over: lock files of refs, HEAD,
// packed-refs, shallow and config (git's lockfile API names each <file>.lock), quarantine folders, and half-written
// intents.
func (r *reconciler) clean() error {
	var stale []string
	for _, name := range []string{"HEAD.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock"} {
		if _, err := os.Lstat(filepath.Join(r.gitDir, name)); err == nil {
			stale = append(stale, name)
		}
	}
	for _, name := range []string{"config.lock", target.ConfigEdit, target.ConfigEdit + ".lock"} {
		// Targets may be changed while no server runs: what is young may be in use.
		if info, err := os.Lstat(filepath.Join(r.gitDir, name)); err == nil &&
			time.Since(info.ModTime()) > target.MaxConfigEdit {
			stale = append(stale, name)
		}
	}
	err := filepath.WalkDir(filepath.Join(r.gitDir, "refs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() && strings.HasSuffix(path, ".lock") { // no ref's name ends so
			relative, _ := filepath.Rel(r.gitDir, path)
			stale = append(stale, relative)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for stale locks: %w", err)
	}
	objects, err := os.ReadDir(filepath.Join(r.gitDir, "objects"))
	if err != nil {
		return fmt.Errorf("look for stale quarantines: %w", err)
	}
	for _, e := range objects {
		if e.IsDir() && git.IsQuarantine(e.Name()) {
			stale = append(stale, filepath.Join("objects", e.Name()))
		}
	}
	intents, err := os.ReadDir(intent.Dir(r.gitDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for stale intents: %w", err)
	}
	for _, e := range intents {
		if disk.IsTemporary(e.Name()) {
			stale = append(stale, filepath.Join("refship", "pending", e.Name()))
		}
	}
	for _, name := range stale {
		if err := os.RemoveAll(filepath.Join(r.gitDir, name)); err != nil {
			r.note(fmt.Errorf("remove stale %s: %w", name, err))
			continue
		}
		r.out.line("%s: removed %s, which a dead push left", r.name, name)
	}
	return nil
}
