package site

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Remove removes a release that does not run: first it is not ready, then it is gone. That it is not there is no error.
func (s *Site) Remove(name string) error {
	for _, file := range []string{markOf(name), listOf(name)} {
		if err := remove(s.state, file); err != nil {
			return err
		}
	}
	if err := s.worktrees.RemoveAll(name); err == nil {
		return nil
	}
	// A command may have taken the rights to directories away. What RemoveAll cannot remove it names.
	if dir, err := s.worktrees.OpenRoot(name); err == nil {
		_ = fs.WalkDir(dir.FS(), ".", func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() { // before it is read
				err = dir.Chmod(path, 0o700)
			}
			return err
		})
		_ = dir.Close() // it was looked at
	}
	return s.worktrees.RemoveAll(name)
}

// removeRemains removes what a killed process left: releases that are not ready, and files of releases that are gone.
// What runs stays.
func (s *Site) removeRemains() error {
	running, err := s.Running()
	if err != nil || s.inPlace != nil {
		running = nil // what is there instead is told with each try to switch; in place a copy runs
	}
	trees, err := fs.ReadDir(s.worktrees.FS(), ".")
	if err != nil {
		return err
	}
	ready, err := s.ready()
	if err != nil {
		return err
	}
	isThere := map[string]bool{}
	for _, e := range trees {
		isThere[e.Name()] = true
		if _, ok := ready[e.Name()]; ok || running != nil && running.Name == e.Name() {
			continue
		}
		if err := s.Remove(e.Name()); err != nil {
			return err
		}
	}
	for name := range ready {
		if !isThere[name] {
			if err := remove(s.state, markOf(name)); err != nil {
				return err
			}
		}
	}
	return s.removeLists(isThere)
}

// ready gives the releases that are ready, and when each was made or ceased to run.
func (s *Site) ready() (map[string]time.Time, error) {
	entries, err := fs.ReadDir(s.state.FS(), releasesName)
	if err != nil {
		return nil, err
	}
	all := map[string]time.Time{}
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case strings.HasSuffix(e.Name(), temporarySuffix):
			if err := remove(s.state, markOf(e.Name())); err != nil {
				return nil, err
			}
		default:
			all[e.Name()] = info.ModTime()
		}
	}
	return all, nil
}

// Clean removes releases that ceased to run at least that long ago, but the last so many of them.
func (s *Site) Clean(keep int, timeout time.Duration) error {
	running, err := s.Running()
	if err != nil || running == nil {
		return err // without a link that is known nothing is removed
	}
	ready, err := s.ready()
	if err != nil {
		return err
	}
	if s.inPlace != nil {
		keep, timeout = 0, 0 // what runs is a copy
	} else {
		delete(ready, running.Name)
	}
	type old struct {
		name  string
		since time.Time
	}
	var all []old
	for name, since := range ready {
		all = append(all, old{name, since})
	}
	slices.SortFunc(all, func(a, b old) int {
		return cmp.Or(b.since.Compare(a.since), cmp.Compare(b.name, a.name)) // the latest first
	})
	for _, o := range all[min(keep, len(all)):] {
		if time.Since(o.since) < timeout {
			continue
		}
		if err := s.Remove(o.name); err != nil {
			return err
		}
	}
	return nil
}
