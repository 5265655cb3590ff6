package upkeep

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/git"
)

// contents are what a repository has of what slows git down.
type contents struct {
	packs, looseRefs, looseObjects int
	left                           []string // what dead gits left, the paths of files and directories
}

// exceeds tells whether there is more than so many times the bounds.
func (c *contents) exceeds(times int) bool {
	return c.packs > times*maxPacks || c.looseRefs > times*maxLooseRefs || c.looseObjects > times*maxLooseObjects ||
		len(c.left) > 0 && times == 1
}

// look counts what the repository at dir has.
func look(dir string) (*contents, error) {
	c := &contents{}
	packs, err := os.ReadDir(filepath.Join(dir, "objects", "pack"))
	if err != nil {
		return nil, err
	}
	for _, e := range packs {
		switch name := e.Name(); {
		case strings.HasPrefix(name, "pack-") && strings.HasSuffix(name, ".pack"):
			c.packs++
		case strings.HasPrefix(name, "tmp_"), strings.HasPrefix(name, ".tmp-"), disk.IsTemporary(name):
			c.addOld(filepath.Join(dir, "objects", "pack", name))
		}
	}
	// As git gc does: oids are spread evenly, so one directory of 256 tells how many loose objects there are.
	sample, err := os.ReadDir(filepath.Join(dir, "objects", "17"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	c.looseObjects = 256 * len(sample)
	objects, err := os.ReadDir(filepath.Join(dir, "objects"))
	if err != nil {
		return nil, err
	}
	for _, e := range objects {
		if e.IsDir() && (git.IsQuarantine(e.Name()) || strings.HasPrefix(e.Name(), "tmp_objdir-")) {
			c.addOld(filepath.Join(dir, "objects", e.Name()))
		}
	}
	loose, err := git.ReadLoose(dir)
	if err != nil {
		return nil, err
	}
	c.looseRefs = loose.Refs
	return c, nil
}

// addOld takes in a file or directory in which nothing has changed for fileAge.
func (c *contents) addOld(path string) {
	changed := time.Time{}
	err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.ModTime().After(changed) {
			changed = info.ModTime()
		}
		return err
	})
	if err == nil && time.Since(changed) > fileAge { // an error: it goes away just now
		c.left = append(c.left, path)
	}
}
