package hooks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"refship/deploy/disk"
	"refship/deploy/git"
)

// scratch is the directory of one check: it belongs to nothing else, and goes with all that is in it.
type scratch struct {
	dir  string
	keep bool // the parent stays
}

func (d scratch) tree() string { return filepath.Join(d.dir, "tree") } // what was pushed; the command starts there
func (d scratch) home() string { return filepath.Join(d.dir, "home") } // HOME
func (d scratch) tmp() string  { return filepath.Join(d.dir, "tmp") }  // TMPDIR

// scratchDir is where the scratch directories are: in the data directory, which is on a disk, and not in a /tmp that is
// memory. Nobody but the server's user gets into it.
func (s *Deployer) scratchDir() (string, error) {
	return filepath.Abs(filepath.Join(s.cfg.Dir, checksDir))
}

// checksDir is its name below Config.Dir.
const checksDir = "checks"

// staleScratch is longer than a check takes.
const staleScratch = 24 * time.Hour

func (s *Deployer) newScratch() (scratch, error) {
	parent, err := s.scratchDir()
	if err == nil {
		err = s.makeScratchDir(parent)
	}
	if err != nil {
		return scratch{}, fmt.Errorf("make scratch directory: %w", disk.WithoutDir(err))
	}
	d := scratch{keep: s.alone}
	d.dir, err = os.MkdirTemp(parent, "check-")
	if errors.Is(err, fs.ErrNotExist) { // another process has just removed it, empty
		if err = s.makeScratchDir(parent); err == nil {
			d.dir, err = os.MkdirTemp(parent, "check-")
		}
	}
	if err != nil {
		return scratch{}, fmt.Errorf("make scratch directory: %w", disk.WithoutDir(err))
	}
	for _, dir := range []string{d.tree(), d.home(), d.tmp()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return scratch{}, errors.Join(fmt.Errorf("make scratch directory: %w", disk.WithoutDir(err)), d.remove())
		}
	}
	return d, nil
}

// makeScratchDir makes the parent of the scratch directories. In a repository it is for all accounts that push to it, and what was
// left there by a process that was killed goes after a day: nobody is told that no other process uses it.
func (s *Deployer) makeScratchDir(parent string) error {
	if s.alone {
		return os.MkdirAll(parent, 0o700)
	}
	mode, err := git.SharedMode(filepath.Dir(s.cfg.Dir))
	if err != nil {
		return err
	}
	for _, dir := range []string{s.cfg.Dir, parent} {
		if _, err := disk.Mkdir(dir, mode); err != nil {
			return err
		}
	}
	left, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range left {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleScratch {
			path := filepath.Join(parent, e.Name())
			_ = endStrays(homesBelow(path)) // another account's stay, and go with one of its own pushes
			_ = disk.RemoveAll(path)
		}
	}
	return nil
}

// room is how many bytes a tree may take in there: so little that as many checks as there can be at a time leave the disk
// some of what is free now, for etcd and the repositories are on it, too.
func (d scratch) room() (int64, error) {
	free, err := freeSpace(d.dir)
	if err != nil {
		return 0, fmt.Errorf("look how much of the disk is free: %w", err)
	}
	return free / (maxChecks + 1), nil
}

// remove takes the directory away, also where the command took its own rights to directories away.
func (d scratch) remove() error {
	err := disk.RemoveAll(d.dir)
	if !d.keep {
		_ = os.Remove(filepath.Dir(d.dir)) // if it is empty: the next one may be another account's
	}
	return err
}

// clearScratch ends what a server that was killed left running, and then removes the directories beneath it.
func (s *Deployer) clearScratch() error {
	dir, err := s.scratchDir()
	if err != nil {
		return fmt.Errorf("remove scratch directory: %w", err)
	}
	return errors.Join(endStrays(homesBelow(dir)), disk.RemoveAll(dir))
}
