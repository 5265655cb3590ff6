package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refship/hooks/target"
)

// Repos are the bare repositories below a directory: NAME is in Dir/NAME.git. Names that differ in case are different
// repositories, so Dir belongs on a file system that tells case apart. Everything else below Dir is left alone and
// never served; symbolic links are not followed.
type Repos struct{ Dir string }

// Repo is one of them.
type Repo struct {
	Name    string
	Dir     string
	Targets []target.Target // sorted by name
}

func (r Repos) path(name string) string {
	return filepath.Join(r.Dir, filepath.FromSlash(name)+".git")
}

// List gives all repositories, sorted by name. Where one repository's targets cannot be read, the others are given
// together with an error that names it.
func (r Repos) List(ctx context.Context) ([]*Repo, error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	var all []*Repo
	var errs []error
	for _, n := range names {
		repo, err := r.Find(ctx, n)
		var gone *UnknownRepoError
		switch {
		case err == nil:
			all = append(all, repo)
		case errors.As(err, &gone): // removed since names looked
		default:
			errs = append(errs, err)
		}
	}
	return all, errors.Join(errs...)
}

// Find gives the repository of that name, or an *UnknownRepoError.
func (r Repos) Find(ctx context.Context, name string) (*Repo, error) {
	dir, err := r.locate(name)
	if err != nil {
		return nil, err
	}
	targets, err := target.ReadTargets(dir)
	if err != nil {
		return nil, fmt.Errorf("read targets of repository %s: %w", name, err)
	}
	return &Repo{Name: name, Dir: dir, Targets: targets}, nil
}

// locate gives the directory of a repository without reading its targets.
func (r Repos) locate(name string) (string, error) {
	name, err := ParseName(name)
	if err != nil {
		return "", err
	}
	// Each element must be a real directory: a symbolic link could lead out of Dir, or give a repository two names.
	p := r.Dir
	for e := range strings.SplitSeq(name+".git", "/") {
		p = filepath.Join(p, e)
		fi, err := os.Lstat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", &UnknownRepoError{Name: name}
		case err != nil:
			return "", fmt.Errorf("find repository %s: %w", name, err)
		case !fi.IsDir():
			return "", &UnknownRepoError{Name: name}
		}
	}
	if !isRepository(p) {
		return "", &UnknownRepoError{Name: name}
	}
	return p, nil
}

// names lists the repositories without reading their targets.
func (r Repos) names() ([]string, error) {
	var names []string
	err := filepath.WalkDir(r.Dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case p == r.Dir || !d.IsDir():
			return nil
		}
		rel, err := filepath.Rel(r.Dir, p)
		if err != nil {
			return err
		}
		base, isGit := strings.CutSuffix(filepath.ToSlash(rel), ".git")
		if _, err := ParseName(base); err != nil {
			return fs.SkipDir
		}
		if !isGit {
			return nil
		}
		if isRepository(p) {
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

// isRepository is git's own test (is_git_directory in setup.c), without looking into the files.
func isRepository(dir string) bool {
	for _, n := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Lstat(filepath.Join(dir, n)); err != nil {
			return false
		}
	}
	return true
}

// isSHA256 tells whether a repository names its objects by SHA-256, which deploy hashes cannot express.
func isSHA256(ctx context.Context, git *gitTool, dir string) (bool, error) {
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		return false, fmt.Errorf("read repository config: %w", err)
	}
	// Starting git takes longer than all the rest of a session's beginning, so it is asked only where it can say yes.
	if !strings.Contains(strings.ToLower(string(config)), "objectformat") {
		return false, nil
	}
	out, err := git.output(ctx, "--git-dir="+dir, "rev-parse", "--show-object-format")
	if err != nil {
		return false, err
	}
	return strings.TrimSpace(out) != "sha1", nil
}
