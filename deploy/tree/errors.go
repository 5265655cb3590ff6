package tree

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

var (
	// ErrNotFound is wrapped where no object, or none of the wanted type, has an oid.
	ErrNotFound = errors.New("object not found")
)

// DirectoryError: a directory that cannot be deployed, with what is to be mended first.
type DirectoryError struct {
	Dir      string    // as it was asked for
	Problems []Problem // at least one, at most ten
	Err      error     // nil, or why there is no such directory
}

// Problem is one thing in a directory that cannot be deployed.
type Problem struct {
	Path   string // below the directory, elements joined with "/"; "" is the directory itself
	What   string // follows the path in a sentence
	Remedy string
}

func noDirectory(dir string, err error) error {
	var at *os.PathError
	what := err
	if errors.As(err, &at) {
		what = at.Err
	}
	return &DirectoryError{Dir: dir, Err: err, Problems: []Problem{{What: what.Error(), Remedy: "give a directory that is there and that this user may read"}}}
}

func (e *DirectoryError) Error() string {
	var list []string
	for _, p := range e.Problems {
		if p.Path == "" {
			list = append(list, p.What)
		} else {
			list = append(list, fmt.Sprintf("%q %s", p.Path, p.What))
		}
	}
	if len(list) == maxProblems {
		list = append(list, "perhaps more")
	}
	return fmt.Sprintf("directory %q: %s", e.Dir, strings.Join(list, "; "))
}

// Unwrap gives why there is no such directory; nil if there is one.
func (e *DirectoryError) Unwrap() error { return e.Err }

// Hint is the remedies, each once.
func (e *DirectoryError) Hint() string {
	var list []string
	for _, p := range e.Problems {
		if !slices.Contains(list, p.Remedy) {
			list = append(list, p.Remedy)
		}
	}
	return strings.Join(list, "; ")
}

// waitRemedy is what to do about a directory that somebody writes to.
const waitRemedy = "deploy again when nothing writes to it"

// ChangedError: a file of a Directory is not what it was when the tree was made of it.
type ChangedError struct {
	Path string // below the directory
}

func (e *ChangedError) Error() string { return fmt.Sprintf("%q changed while it was read", e.Path) }

// Hint is the remedy.
func (e *ChangedError) Hint() string { return waitRemedy }
