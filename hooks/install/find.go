package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"refship/deploy/git"
)

// Place is where FindAll saw a repository, or could not look.
type Place struct {
	Path string // of the bare repository or the work tree
	Name string // relative to the directory that was searched, without ".git"; that directory itself has its own name
	Err  error  // why Path could not be searched; nil for a repository
}

// FindAll finds each repository in dir: bare ones, which have HEAD, objects and refs, and work trees, which have a
// directory .git. It looks into no repository for others, and follows no symbolic link; a file .git, of a submodule or
// a linked worktree, belongs to a repository elsewhere. Places are sorted by path.
func FindAll(ctx context.Context, dir string) ([]Place, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find repositories: %w", err)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil { // dir itself was named, and may be a link
		return nil, fmt.Errorf("find repositories: %w", err)
	}
	var places []Place
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && path == root:
			return err
		case err != nil:
			if !errors.Is(err, fs.ErrNotExist) { // gone in the meantime is no trouble
				places = append(places, Place{Path: path, Name: placeName(root, path), Err: err})
			}
			return nil
		case !e.IsDir():
			return nil
		case isRepository(path):
			places = append(places, Place{Path: path, Name: placeName(root, path)})
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find repositories: %w", err)
	}
	return places, nil
}

func placeName(root, path string) string {
	name, err := filepath.Rel(root, path)
	if err != nil || name == "." {
		name = filepath.Base(path)
	}
	if short := strings.TrimSuffix(name, ".git"); short != "" && !strings.HasSuffix(short, "/") {
		return short
	}
	if parent := filepath.Dir(name); parent != "." { // sub/.git
		return parent
	}
	return filepath.Base(filepath.Dir(path))
}

// isRepository tells a git directory, or a directory that has one.
func isRepository(path string) bool {
	info, err := os.Lstat(filepath.Join(path, ".git"))
	return err == nil && info.IsDir() || git.IsDir(path)
}
