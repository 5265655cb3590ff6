package site

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
)

// The names below a root.
const (
	worktreesName = ".worktrees"
	stateName     = ".refship"
	releasesName  = "releases"
	listsName     = "lists"
	idName        = "id"
)

// Site is a node's directory. It has it to itself until Close.
type Site struct {
	root      string // absolute, without symbolic links
	state     *os.Root
	worktrees *os.Root
	linkDir   *os.Root
	linkName  string
	linkPath  string   // for messages
	toTrees   string   // the way from the link's directory to the worktrees
	inPlace   *os.Root // the directory at the link's place; nil: there is a link
	unlock    func()
}

// Open takes a root, which is made where it is missing, and removes what a killed process left in it. link is relative
// to root, or absolute. Another agent in the same root is a fault.Conflict.
func Open(root, link string) (*Site, error) { return openSite(root, link, false) }

// OpenInPlace is Open with a directory at the link's place, which is made where it is missing: Fill makes it have what
// a release has.
func OpenInPlace(root, dir string) (*Site, error) { return openSite(root, dir, true) }

func openSite(root, link string, inPlace bool) (s *Site, err error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("make the root: %w", err)
	}
	if root, err = filepath.Abs(root); err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, fmt.Errorf("find the root: %w", err)
	}
	s = &Site{root: root}
	err = s.lock()
	if err == nil {
		err = s.open(link, inPlace)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// lock makes the directory of what is remembered, and takes the site.
func (s *Site) lock() error {
	for _, dir := range []string{
		stateName, filepath.Join(stateName, releasesName), filepath.Join(stateName, listsName),
	} {
		if _, err := disk.Mkdir(filepath.Join(s.root, dir), 0o700); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	state, err := disk.OpenSafe(filepath.Join(s.root, stateName))
	if err != nil {
		return err
	}
	s.state = state
	s.unlock, err = disk.TryLock(filepath.Join(s.root, stateName, "lock"))
	if locked := (*disk.LockedError)(nil); errors.As(err, &locked) {
		what := fmt.Sprintf("another agent uses %s", s.root)
		if locked.PID != 0 {
			what += fmt.Sprintf(": process %d", locked.PID)
		}
		return &fault.Error{
			Kind: fault.Conflict, What: what, Remedy: "stop that agent, or give this one a root of its own", Cause: err,
		}
	}
	return err
}

func (s *Site) open(link string, inPlace bool) (err error) {
	trees := filepath.Join(s.root, worktreesName)
	if _, err := disk.Mkdir(trees, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", worktreesName, err)
	}
	if s.worktrees, err = disk.OpenSafe(trees); err != nil {
		return err
	}
	if err := s.openLink(link); err != nil {
		return err
	}
	if err := removeTemporary(s.linkDir, s.linkName); err != nil {
		return err
	}
	if inPlace {
		if err := s.openInPlace(); err != nil {
			return err
		}
	}
	return s.removeRemains()
}

// openLink opens the directory that the link is in.
func (s *Site) openLink(link string) error {
	if !filepath.IsAbs(link) {
		if !filepath.IsLocal(link) {
			return fault.Newf(fault.Usage, "link %q leads out of the root: give an absolute path for that", link)
		}
		link = filepath.Join(s.root, link)
	}
	link = filepath.Clean(link)
	if link == s.root || strings.HasPrefix(link+"/", filepath.Join(s.root, worktreesName)+"/") ||
		strings.HasPrefix(link+"/", filepath.Join(s.root, stateName)+"/") {
		return fault.Newf(fault.Usage, "link %q is at a place that the agent itself needs", link)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(link))
	if err != nil {
		return fmt.Errorf("find the directory of the link: %w", err)
	}
	if s.toTrees, err = filepath.Rel(dir, filepath.Join(s.root, worktreesName)); err != nil {
		return fmt.Errorf("find the way from the link: %w", err)
	}
	s.linkPath, s.linkName = filepath.Join(dir, filepath.Base(link)), filepath.Base(link)
	s.linkDir, err = os.OpenRoot(dir)
	return err
}

// Close gives the root back.
func (s *Site) Close() error {
	var errs []error
	for _, root := range []*os.Root{s.state, s.worktrees, s.linkDir, s.inPlace} {
		if root != nil {
			errs = append(errs, root.Close())
		}
	}
	if s.unlock != nil {
		s.unlock()
	}
	return errors.Join(errs...)
}

// ID is a random text of the root's own, made when it is asked for first: the same for each agent that uses the root.
func (s *Site) ID() (string, error) {
	var id string
	if found, err := readJSON(s.state, idName, &id); err != nil || found {
		return id, err
	}
	id = rand.Text()
	return id, writeJSON(s.state, idName, id, 0o600)
}

// Root is the absolute path of the root.
func (s *Site) Root() string { return s.root }

// Link is the absolute path of the link, or of the directory in its place.
func (s *Site) Link() string { return s.linkPath }
