package git

import (
	"errors"
	"fmt"
	"strings"

	"refship/deploy/tree"
)

var (
	// ErrClosed is wrapped by what is asked of a Repository after Close.
	ErrClosed = errors.New("repository is closed")
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
	Commit tree.OID
	Path   string // as it was asked for
	Found  string // what is there instead, such as `"a/b" is a file`
}

func (e *NoPathError) Error() string {
	return fmt.Sprintf("commit %s has no directory %q: %s", e.Commit, e.Path, e.Found)
}

// TreeError: a tree that git has and that cannot be deployed, since it is not as git itself writes trees.
type TreeError struct {
	OID tree.OID
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
	OID  tree.OID
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
