package repos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/hooks/target"
)

// Dir is the directory of a server's repositories. Names that differ in case are different repositories, so it
// belongs on a file system that tells case apart. Everything in it that is no repository is left alone and never
// served.
type Dir struct {
	Path string // absolute
}

// Repository is one of them.
type Repository struct {
	Name     string
	Dir      string
	Targets  []target.Target // sorted by name
	Settings target.Settings // of all targets
}

// AllTargets are the targets of repositories, one after the other.
func AllTargets(repositories []*Repository) []target.Target {
	var all []target.Target
	for _, repository := range repositories {
		all = append(all, repository.Targets...)
	}
	return all
}

func (r Dir) path(name string) string {
	return filepath.Join(r.Path, filepath.FromSlash(name)+".git")
}

// Reasons of errors. The program words the remedies.
const (
	ReasonExists  fault.Reason = "repository-exists"  // about its name
	ReasonOverlap fault.Reason = "namespace-overlaps" // about the other target: its repository's name, and its own
	ReasonUnknown fault.Reason = "repository-unknown" // about its name
)

// ErrUnknown is why something fails where there is no repository of that name. Names gives those that there are.
var ErrUnknown = errors.New("repository does not exist")

func unknownError(name string) error {
	return &fault.Error{
		Kind: fault.Refused, What: fmt.Sprintf("repository %s does not exist", name),
		Reason: ReasonUnknown, About: []string{name}, Cause: ErrUnknown,
	}
}

// List gives all repositories, sorted by name. Where one repository's targets cannot be read, the others are given
// together with an error that names it.
func (r Dir) List() ([]*Repository, error) {
	names, err := r.Names()
	if err != nil {
		return nil, err
	}
	var all []*Repository
	var errs []error
	for _, n := range names {
		repo, err := r.Find(n)
		switch {
		case err == nil:
			all = append(all, repo)
		case errors.Is(err, ErrUnknown): // removed since Names looked
		default:
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// Find gives the repository of that name, or ErrUnknown.
func (r Dir) Find(name string) (*Repository, error) {
	dir, err := r.Locate(name)
	if err != nil {
		return nil, err
	}
	config, err := target.Read(dir)
	if err != nil {
		return nil, fmt.Errorf("read targets of repository %s: %w", name, err)
	}
	return &Repository{Name: name, Dir: dir, Targets: config.Targets, Settings: config.Settings}, nil
}

// Locate gives the directory of a repository without reading its targets.
func (r Dir) Locate(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	// Each element must be a real directory: a symbolic link could lead out of Dir, or give a repository two names.
	p := r.Path
	for e := range strings.SplitSeq(name+".git", "/") {
		p = filepath.Join(p, e)
		fi, err := os.Lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", unknownError(name)
		case err != nil:
			return "", fmt.Errorf("find repository %s: %w", name, err)
		case !fi.IsDir():
			return "", unknownError(name)
		}
	}
	if !git.IsDir(p) {
		return "", unknownError(name)
	}
	return p, nil
}

// Names lists the repositories, sorted, without reading their targets.
func (r Dir) Names() ([]string, error) {
	var names []string
	err := filepath.WalkDir(r.Path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case p == r.Path || !d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(r.Path, p)
		if err != nil {
			return err
		}
		base, isGit := strings.CutSuffix(filepath.ToSlash(rel), ".git")
		if CheckName(base) != nil {
			return fs.SkipDir
		}
		if !isGit {
			return nil
		}
		if git.IsDir(p) {
			names = append(names, base)
		}
		return fs.SkipDir
	})
	if err != nil {
		return nil, fmt.Errorf("list repositories: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Format is the object format of the repository at dir.
func Format(dir string) (git.Format, error) { return target.ReadFormat(dir) }
