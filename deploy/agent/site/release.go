package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/agent/files"
	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
)

// Release is a deploy in a directory of its own.
type Release struct {
	ID     record.ID   `json:"id"`     // 0: the directory is none of refship's
	Hash   record.Hash `json:"hash"`   // "" of a foreign deploy without one
	Record string      `json:"record"` // sha256 of the deploy's record, 64 hex digits; "" of a foreign deploy
	Name   string      `json:"name"`   // of the directory
	Since  time.Time   `json:"-"`      // since when it runs; zero if it does not
}

// ReleaseOf is the release that a deploy becomes.
func ReleaseOf(d *record.Deploy) *Release {
	r := &Release{ID: d.ID, Hash: d.Hash}
	if d.Record != nil {
		r.Record = record.Sum(d.RecordBytes)
	}
	name := strings.ReplaceAll(string(d.Hash), ":", "-")
	if name == "" {
		name = "foreign"
	}
	r.Name = d.ID.String() + "-" + name
	return r
}

// markOf is the file that says that a release is ready.
func markOf(name string) string { return filepath.Join(releasesName, name) }

// Is tells whether two releases are the same deploy.
func (r *Release) Is(other *Release) bool {
	return r != nil && other != nil && r.ID == other.ID && r.Hash == other.Hash && r.Record == other.Record
}

// beside gives the release a name that the one that runs has not: another chain may have had the same commit under the
// same id.
func (r *Release) beside(running *Release) {
	if running != nil && running.Name == r.Name {
		r.Name += "-" + r.Record[:min(8, len(r.Record))]
	}
}

// Running gives the release that the link leads to, nil if there is no link, or one that leads to none. What is there
// and is no link is an error. In place it is the release that the directory was filled with, nil while it is not whole.
func (s *Site) Running() (*Release, error) {
	if s.inPlace != nil {
		return s.filled()
	}
	info, err := s.linkDir.Lstat(s.linkName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil //nolint:nilnil // nothing runs yet
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink == 0:
		return nil, fault.New(fault.Failed, fmt.Sprintf("%q is no link: something else has put it there", s.linkPath),
			"see what it is, and move it away")
	}
	target, err := s.linkDir.Readlink(s.linkName)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(target)
	if filepath.Clean(target) != filepath.Join(s.toTrees, name) {
		return nil, nil //nolint:nilnil // nothing of this site runs
	}
	if is, err := s.worktrees.Lstat(name); err != nil || !is.IsDir() {
		return nil, nil //nolint:nilnil // the link leads nowhere
	}
	r := &Release{}
	if found, err := readJSON(s.state, markOf(name), r); err != nil || !found {
		r = &Release{} // the directory is not refship's, or its file is lost
	}
	r.Name, r.Since = name, info.ModTime()
	return r, nil
}

// Dir is the path of a release's own directory.
func (s *Site) Dir(r *Release) string { return filepath.Join(s.root, worktreesName, r.Name) }

// RunDir is the path at which a release runs: its own, or that of the directory that is filled.
func (s *Site) RunDir(r *Release) string {
	if s.inPlace != nil {
		return s.linkPath
	}
	return s.Dir(r)
}

// Open opens a release's own directory. The caller closes it.
func (s *Site) Open(r *Release) (*os.Root, error) { return s.worktrees.OpenRoot(r.Name) }

// OpenRunning opens the directory in which a release runs. The caller closes it.
func (s *Site) OpenRunning(r *Release) (*os.Root, error) {
	if s.inPlace != nil {
		return s.inPlace.OpenRoot(".")
	}
	return s.Open(r)
}

// Place gives a release its name beside the one that runs, and tells whether it is ready there. Remains of another try
// are removed; anew: also what is ready.
func (s *Site) Place(r, running *Release, anew bool) (ready bool, err error) {
	if s.inPlace == nil {
		r.beside(running)
	}
	made := new(Release)
	found, err := readJSON(s.state, markOf(r.Name), made)
	if err == nil && found && r.Is(made) && !anew {
		if is, err := s.worktrees.Lstat(r.Name); err == nil && is.IsDir() {
			return true, nil
		}
	}
	return false, s.Remove(r.Name) // what cannot be read says nothing of value
}

// Ready puts all of a release on disk, and then the file that says that it is ready. list is what it has; nil: nobody
// asks for that. changed: something of it was written since it was fetched.
func (s *Site) Ready(r *Release, changed bool, list files.List) error {
	if changed { // since it was fetched
		dir, err := s.Open(r)
		if err != nil {
			return err
		}
		if err := errors.Join(disk.SyncTree(dir), dir.Close()); err != nil {
			return err
		}
	}
	if list != nil {
		if err := s.writeList(listOf(r.Name), list); err != nil {
			return err
		}
	}
	return writeJSON(s.state, markOf(r.Name), r, 0o600)
}

// Switch makes the link lead to a release that is ready. made is called between the two halves: the new link is there
// under another name.
func (s *Site) Switch(r, running *Release, made func()) error {
	if running != nil && running.ID != 0 { // from now on it gets old
		now := time.Now()
		err := s.state.Chtimes(markOf(running.Name), now, now)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if _, err := s.Running(); err != nil {
		return err
	}
	temporary := temporaryOf(s.linkName)
	if err := s.linkDir.Symlink(filepath.Join(s.toTrees, r.Name), temporary); err != nil {
		return fmt.Errorf("make a link: %w", err)
	}
	made()
	if err := s.linkDir.Rename(temporary, s.linkName); err != nil {
		_ = s.linkDir.Remove(temporary) // err says enough
		return fmt.Errorf("replace the link %s: %w", s.linkPath, err)
	}
	return syncDir(s.linkDir, ".")
}
