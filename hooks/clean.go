package hooks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// clean removes what git processes that died leave behind and later ones trip over: lock files (git.Lock), quarantine
// folders, and half-written intents. What it cannot mend, it tells: refs that a broken disk has emptied.
//
// Locks of refs go whatever their age: this server's gits died with the last server, and a person's git holds one for
// moments, but a lock that stayed for a minute more would have all pushes to that ref refused for it. Only a config is
// edited while no server runs, so its young lock stays.
func (r *reconciler) clean() error {
	loose, err := git.ReadLoose(r.gitDir)
	if err != nil {
		return err
	}
	var stale []string
	// Targets may be changed while no server runs: what is young may be in use.
	isOld := func(since time.Time) bool { return time.Since(since) > target.MaxConfigEdit }
	for _, lock := range loose.Locks {
		if lock.Path != "config.lock" || isOld(lock.Since) {
			stale = append(stale, lock.Path)
		}
	}
	for _, name := range []string{target.ConfigEdit, target.ConfigEdit + ".lock"} {
		if info, err := os.Lstat(filepath.Join(r.gitDir, name)); err == nil && isOld(info.ModTime()) {
			stale = append(stale, name)
		}
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
	for _, ref := range loose.Empty {
		err := git.EmptyRefError(r.gitDir, ref)
		r.out.Line("warning: %s: %v; %s", r.name, err, fault.RemedyOf(err))
	}
	for _, name := range stale {
		if err := os.RemoveAll(filepath.Join(r.gitDir, name)); err != nil {
			r.note(fmt.Errorf("remove stale %s: %w", name, err))
			continue
		}
		r.out.Line("%s: removed %s, which a dead push left", r.name, name)
	}
	return nil
}
