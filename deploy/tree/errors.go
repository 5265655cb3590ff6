package tree

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

var (
	// ErrClosed is wrapped by what is asked of a Repository after Close.
	ErrClosed = errors.New("repository is closed")
	// ErrNotFound is wrapped where no object, or none of the wanted type, has an oid.
	ErrNotFound = errors.New("object not found")
	// ErrCorrupt is wrapped when git hands over bytes that are not those that the oid names.
	ErrCorrupt = errors.New("object is corrupt")
	// ErrUnknownCommit is wrapped by Between when the repository has no commit with the ancestor's oid.
	ErrUnknownCommit = errors.New("no such commit in this repository")
)

// FormatError: the repository's objects are not named by SHA-1.
type FormatError struct {
	Dir    string
	Format string // as git calls it: "sha256"
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("repository %s uses %s objects", e.Dir, e.Format)
}

// Hint is the remedy.
func (e *FormatError) Hint() string {
	return "only sha1 repositories can be deployed: make one with git init --object-format=sha1 and push to it"
}

// NoPathError: a commit's tree has no directory at Path.
type NoPathError struct {
	Commit OID
	Path   string // as it was asked for
	Found  string // what is there instead, such as `"a/b" is a file`
}

func (e *NoPathError) Error() string {
	return fmt.Sprintf("commit %s has no directory %q: %s", e.Commit, e.Path, e.Found)
}

// TreeError: a tree that git has and that cannot be deployed, since it is not as git itself writes trees.
type TreeError struct {
	OID OID
	Err error // names the entry
}

func (e *TreeError) Error() string { return fmt.Sprintf("tree %s: %v", e.OID, e.Err) }

// Unwrap gives what is wrong with the tree.
func (e *TreeError) Unwrap() error { return e.Err }

// Hint is the remedy.
func (e *TreeError) Hint() string {
	return "git fsck names such trees: write the commit again from a clean checkout with a current git"
}

// TooLargeError: an object that is read whole has more than MaxObjectSize bytes.
type TooLargeError struct {
	OID  OID
	Type string // as git calls it: "commit"
	Size int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s %s has %d bytes, more than the %d that are read whole", e.Type, e.OID, e.Size, MaxObjectSize)
}

// GitError: a git process could not do its work.
type GitError struct {
	Dir     string
	Command string // "cat-file"
	Err     error  // usually *exec.ExitError
	Stderr  string // what git said, in one line; may be empty
}

func (e *GitError) Error() string {
	s := fmt.Sprintf("git %s in %s: %v", e.Command, e.Dir, e.Err)
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}

// Unwrap gives how the process ended.
func (e *GitError) Unwrap() error { return e.Err }

// Hint is the remedy where one is known, else "".
func (e *GitError) Hint() string {
	switch {
	case strings.Contains(e.Stderr, "unknown option"):
		return "git 2.36 or later is needed"
	case strings.Contains(e.Stderr, "not a git repository"):
		return "give the repository's git directory: git -C DIR rev-parse --absolute-git-dir prints it"
	}
	return ""
}

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
