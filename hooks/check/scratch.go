package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"refship/deploy/disk"
)

// staleAge is longer than a check takes.
const staleAge = 24 * time.Hour

// scratch is the directory of one check.
type scratch struct {
	dir    string
	shared bool // other processes make theirs beside it
}

func (d scratch) tree() string { return filepath.Join(d.dir, "tree") } // what was pushed; the command starts there
func (d scratch) home() string { return filepath.Join(d.dir, "home") } // HOME
func (d scratch) tmp() string  { return filepath.Join(d.dir, "tmp") }  // TMPDIR

// newScratch makes a scratch directory.
func (r *Runner) newScratch() (scratch, error) {
	d, err := r.makeScratch()
	if errors.Is(err, fs.ErrNotExist) { // another process has just removed the parent, empty
		d, err = r.makeScratch()
	}
	if err != nil {
		return d, fmt.Errorf("make scratch directory: %w", disk.WithoutDir(err))
	}
	return d, nil
}

func (r *Runner) makeScratch() (scratch, error) {
	d := scratch{shared: r.cfg.Shared != nil}
	parent, err := filepath.Abs(r.cfg.Dir)
	if err == nil {
		err = r.makeParent(parent)
	}
	if err == nil {
		d.dir, err = os.MkdirTemp(parent, "check-")
	}
	if err != nil {
		return d, err
	}
	for _, dir := range []string{d.tree(), d.home(), d.tmp()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return d, errors.Join(err, d.remove())
		}
	}
	return d, nil
}

// makeParent makes the directory of scratch directories. A shared one is for all accounts that push to a repository. No
// process can tell whether another still uses it, so what a killed process left there goes after a day.
func (r *Runner) makeParent(parent string) error {
	if r.cfg.Shared == nil {
		return os.MkdirAll(parent, 0o700)
	}
	mode, err := r.cfg.Shared()
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(parent), parent} {
		if _, err := disk.Mkdir(dir, mode); err != nil {
			return err
		}
	}
	left, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range left {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleAge {
			path := filepath.Join(parent, e.Name())
			_ = killStrays(homesBelow(path)) // another account's stay until one of its own pushes
			_ = disk.RemoveAll(path)
		}
	}
	return nil
}

// homesBelow begins the variable by which processes of checks are found: HOME in a directory below dir.
func homesBelow(dir string) string { return "HOME=" + dir + string(filepath.Separator) }

// room is how many bytes a tree may take. Checks that run at the same time must leave the disk some free space: etcd
// and the repositories are on it, too.
func (d scratch) room() (int64, error) {
	free, err := disk.Free(d.dir)
	if err != nil {
		return 0, fmt.Errorf("read free space of the disk: %w", err)
	}
	return free / (atOnce + 1), nil
}

// remove removes the directory, also where the command took its own rights to directories away.
func (d scratch) remove() error {
	err := disk.RemoveAll(d.dir)
	if d.shared {
		_ = os.Remove(filepath.Dir(d.dir)) // if it is empty: the next one may be another account's
	}
	return err
}

// Clear kills what a killed server's checks left running, and removes their directories. No other process may use
// Config.Dir.
func (r *Runner) Clear() error {
	dir, err := filepath.Abs(r.cfg.Dir)
	if err != nil {
		return fmt.Errorf("remove scratch directories: %w", err)
	}
	if err := errors.Join(killStrays(homesBelow(dir)), disk.RemoveAll(dir)); err != nil {
		return fmt.Errorf("remove scratch directories: %w", err)
	}
	return nil
}
