package tree

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
)

var (
	// ErrNotFound is wrapped where no object, or none of the wanted type, has an oid.
	ErrNotFound = errors.New("object not found")
	// ErrChanged is wrapped when a file of a Directory is not what it was when the tree was made of it.
	ErrChanged = errors.New("changed while it was read")
)

// ReasonUnfit is the reason why a directory cannot be deployed that files could be left out of. It is about the
// remedies.
const ReasonUnfit fault.Reason = "directory-unfit"

// waitRemedy is what to do about a directory that is being written to.
const waitRemedy = "deploy again when nothing writes to it"

// problem is one thing in a directory that cannot be deployed.
type problem struct {
	path   string // below the directory, elements joined with "/"; "" is the directory itself
	what   string // follows the path in a sentence
	remedy string
}

// unfit refuses the directory that was asked for as dir, for all of the problems.
func unfit(dir string, problems []problem) error {
	var list, remedies []string
	for _, p := range problems {
		what := p.what
		if p.path != "" {
			what = fmt.Sprintf("%q %s", p.path, p.what)
		}
		list = append(list, what)
		if !slices.Contains(remedies, p.remedy) {
			remedies = append(remedies, p.remedy)
		}
	}
	if len(list) == maxProblems {
		list = append(list, "perhaps more")
	}
	return &fault.Error{
		Kind: fault.Refused, What: fmt.Sprintf("directory %q: %s", dir, strings.Join(list, "; ")),
		Remedy: strings.Join(remedies, "; "), Reason: ReasonUnfit, About: remedies,
	}
}

// noDirectory refuses what is not a directory, or cannot be opened.
func noDirectory(dir string, err error) error {
	return &fault.Error{
		Kind: fault.Refused, What: fmt.Sprintf("directory %q: %v", dir, withoutPath(err)),
		Remedy: "give a directory that is there and that this user may read", Cause: err,
	}
}

// withoutPath is an error without the path that it names.
func withoutPath(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// isGone tells whether an error says that a file or directory is not what it was a moment ago.
func isGone(err error) bool {
	for _, gone := range []error{unix.ENOENT, unix.ELOOP, unix.ENOTDIR, errNoFile} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// changed says that the file at path, below the directory, is not what it was.
func changed(path string) error {
	return &fault.Error{What: fmt.Sprintf("%q %v", path, ErrChanged), Remedy: waitRemedy, Cause: ErrChanged}
}
