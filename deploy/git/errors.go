package git

import (
	"errors"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/tree"
)

var (
	// ErrNotFound is wrapped where no object, or none of the wanted type, has an oid.
	ErrNotFound = tree.ErrNotFound
	// ErrClosed is wrapped by what is asked of a Repository after Close.
	ErrClosed = errors.New("repository is closed")
	// ErrCorrupt is wrapped when git hands over bytes that are not those that the oid names.
	ErrCorrupt = errors.New("object is corrupt")
	// ErrUnknownCommit is wrapped by Between when the repository has no commit with the ancestor's oid.
	ErrUnknownCommit = errors.New("no such commit in this repository")
)

// NoPathError: a commit's tree has no directory at Path (fault.Refused).
type NoPathError struct {
	Commit OID
	Path   string // as it was asked for
	Found  string // what is there instead, such as `"a/b" is a file`
}

func (e *NoPathError) Error() string {
	return fmt.Sprintf("commit %s has no directory %q: %s", e.Commit, e.Path, e.Found)
}

// Unwrap gives the kind.
func (e *NoPathError) Unwrap() error { return &fault.Error{Kind: fault.Refused, What: e.Error()} }

// badCommit refuses a commit that git has and that is not as git itself writes commits.
func badCommit(oid OID, err error) error {
	return fault.New(fault.Refused, fmt.Sprintf("commit %s: %v", oid, err),
		"write the commit again with a current git: git commit --amend, or git rebase for one below others")
}

// badTree refuses a tree that git has and that is not as git itself writes trees; err names the entry.
func badTree(oid OID, err error) error {
	return fault.New(fault.Refused, fmt.Sprintf("tree %s: %v", oid, err),
		"git fsck names such trees: write the commit again from a clean checkout with a current git")
}

// tooLarge refuses an object that would have to be read whole.
func tooLarge(typ string, oid OID, size int64) error {
	return fault.New(fault.Refused, fmt.Sprintf("%s %s is %d bytes (limit %d)", typ, oid, size, maxObjectSize),
		"make it smaller: fewer entries in one directory, a shorter commit message")
}
