package hooks

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
	"refship/deploy/text"
)

const (
	// maxUpdates bounds the ref updates of one push.
	maxUpdates = 10_000
	// maxInput bounds a hook's standard input, in bytes.
	maxInput = 4 << 20
)

// RefUpdate is one line of a hook's standard input.
type RefUpdate struct {
	Ref      string
	Old, New plumbing.Hash // zero: absent
}

// Deletes tells whether the update takes the ref away.
func (u RefUpdate) Deletes() bool { return u.New.IsZero() }

// parseUpdates reads a hook's standard input strictly: lines of "<old> SP <new> SP <ref> LF", the oids as 40 lower-case
// hex digits (githooks(5), pre-receive), no ref twice.
func parseUpdates(input []byte) ([]RefUpdate, error) {
	if len(input) > maxInput {
		return nil, tooMany(fmt.Sprintf("a push names its refs in more than %s", text.Size(maxInput)))
	}
	if n := bytes.Count(input, []byte{'\n'}); n > maxUpdates {
		return nil, tooMany(fmt.Sprintf("a push updates %d refs, the limit is %d", n, maxUpdates))
	}
	var updates []RefUpdate
	seen := make(map[string]bool)
	for len(input) > 0 {
		line, rest, ended := bytes.Cut(input, []byte{'\n'})
		if !ended {
			return nil, fmt.Errorf("read ref update %q: the line has no end", clip(line))
		}
		u, err := parseUpdate(string(line))
		if err != nil {
			return nil, err
		}
		if seen[u.Ref] {
			return nil, fmt.Errorf("read ref updates: %s comes twice", u.Ref)
		}
		seen[u.Ref] = true
		updates = append(updates, u)
		input = rest
	}
	if len(updates) == 0 {
		return nil, fmt.Errorf("read ref updates: there are none")
	}
	return updates, nil
}

func tooMany(what string) error {
	return &deploy.RefusedError{What: what, Remedy: "push fewer refs at once"}
}

func parseUpdate(line string) (RefUpdate, error) {
	fields := strings.SplitN(line, " ", 3)
	if len(fields) != 3 {
		return RefUpdate{}, fmt.Errorf("read ref update %q: not <old> <new> <ref>", clip([]byte(line)))
	}
	from, err := parseOID(fields[0])
	if err != nil {
		return RefUpdate{}, fmt.Errorf("read ref update %q: %w", clip([]byte(line)), err)
	}
	to, err := parseOID(fields[1])
	if err != nil {
		return RefUpdate{}, fmt.Errorf("read ref update %q: %w", clip([]byte(line)), err)
	}
	if err := checkRef(fields[2]); err != nil {
		return RefUpdate{}, err
	}
	return RefUpdate{Ref: fields[2], Old: from, New: to}, nil
}

// parseOID reads an oid as git prints it.
func parseOID(s string) (plumbing.Hash, error) {
	if len(s) == 64 {
		return plumbing.ZeroHash, fmt.Errorf("oid %.12s… is SHA-256; refship serves SHA-1 repositories", s)
	}
	h := plumbing.NewHash(s)
	if h.String() != s {
		return plumbing.ZeroHash, fmt.Errorf("oid %q is not 40 lower-case hex digits", clip([]byte(s)))
	}
	return h, nil
}

// checkRef takes full ref names as git-check-ref-format(1) describes them.
func checkRef(ref string) error {
	name := plumbing.ReferenceName(ref)
	if !strings.HasPrefix(ref, "refs/") || strings.Count(ref, "/") < 2 || len(ref) > 1000 || name.Validate() != nil {
		return &deploy.RefusedError{
			What:   fmt.Sprintf("ref name %q is not usable", clip([]byte(ref))),
			Remedy: "a ref is named in full, such as refs/heads/main: git check-ref-format says what is allowed",
		}
	}
	return nil
}

// shortRef is a ref's name for reading: "main" for a branch, else the full name.
func shortRef(ref string) string { return strings.TrimPrefix(ref, "refs/heads/") }

// clip shortens what is quoted in a message.
func clip(b []byte) string {
	const limit = 120
	if len(b) > limit {
		return string(b[:limit]) + "…"
	}
	return string(b)
}
