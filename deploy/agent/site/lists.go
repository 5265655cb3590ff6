package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"refship/deploy/agent/files"
)

// listOf is the file of what a release has.
func listOf(name string) string { return filepath.Join(listsName, name) }

// runsOf is the file of what should be where a release runs.
func (s *Site) runsOf(r *Release) string {
	if s.inPlace != nil {
		return filledListName
	}
	return listOf(r.Name)
}

// List gives what should be where a release runs; nil: that was never written down.
func (s *Site) List(r *Release) (files.List, error) { return s.readList(s.runsOf(r)) }

// SetList keeps a list of the release that runs.
func (s *Site) SetList(r *Release, list files.List) error { return s.writeList(s.runsOf(r), list) }

func (s *Site) writeList(name string, list files.List) error {
	return writeFile(s.state, name, 0o600, list.Write)
}

func (s *Site) readList(name string) (files.List, error) {
	f, err := s.state.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := files.Read(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(s.state.Name(), name), err)
	}
	return list, nil
}

// removeLists removes the lists of releases that are gone, and what a killed process left of one.
func (s *Site) removeLists(isThere map[string]bool) error {
	entries, err := fs.ReadDir(s.state.FS(), listsName)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !isThere[e.Name()] {
			if err := remove(s.state, listOf(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
