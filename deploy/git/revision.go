package git

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Revision is what a git revision (gitrevisions(7)) names in a repository.
type Revision struct {
	Commit  OID
	Object  OID    // that was named: the commit, or an annotated tag of it
	Ref     string // full name of the ref that was named, also as HEAD; "" if none was
	Subject string // of the commit
}

// FindRevision resolves rev where path is, as the user's git does: HEAD is that of path's work tree.
func FindRevision(ctx context.Context, path, rev string) (Revision, error) {
	parse := func(args ...string) (string, error) {
		out, err := AsUser(ctx, append([]string{"-C", path, "rev-parse", "--verify"}, args...)...)
		return strings.TrimSuffix(out, "\n"), err
	}
	// In two steps: nothing can be appended to some names (":/text").
	named, err := parse("--quiet", "--end-of-options", rev)
	var out string
	if err == nil {
		out, err = parse("--quiet", "--end-of-options", named+"^{commit}")
	}
	if err != nil {
		return Revision{}, &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%q names no commit in %s", text.Clip(rev), path),
			Remedy: "name a branch, a tag, HEAD or an oid that it has: git log --all --oneline lists commits",
		}
	}
	r := Revision{}
	if r.Commit, err = ParseOID(out); err == nil {
		r.Object, err = ParseOID(named)
	}
	if err != nil {
		return Revision{}, fmt.Errorf("resolve %q: %w", text.Clip(rev), err)
	}
	// HEAD~1 and the like are no ref's name, and git does not choose between two refs of one name.
	if ref, err := parse("--symbolic-full-name", "--end-of-options", rev); err == nil && CheckRef(ref) == nil {
		r.Ref = ref
	}
	out, err = AsUser(ctx, "-C", path, "show", "--no-patch", "--no-show-signature", "--encoding=UTF-8",
		"--format=%s", "--end-of-options", r.Commit.String())
	if err != nil {
		return Revision{}, fmt.Errorf("read commit %s: %w", r.Commit, err)
	}
	r.Subject = strings.TrimSuffix(out, "\n")
	return r, nil
}

// plainName is what FindCommit understands: an oid, or its first digits.
var plainName = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

// FindCommit resolves what somebody elsewhere names in the repository at gitDir: an oid or its first 7 digits or more,
// a branch, a tag, a full ref name. Other revisions are not understood: some make git search all history.
func FindCommit(ctx context.Context, gitDir, name string) (OID, error) {
	unknown := fault.Refuse(
		"push it to another ref first, one that no target deploys: git push REMOTE COMMIT:refs/heads/NAME",
		"%s names no commit that this repository has", text.Mention(text.Clip(name)))
	if !plainName.MatchString(name) && CheckRef(name) != nil && CheckRef("refs/heads/"+name) != nil {
		return OID{}, unknown
	}
	out, err := Run(ctx, gitDir, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	var failed *Error
	switch {
	case errors.As(err, &failed) && failed.exitCode() == 1:
		return OID{}, unknown
	case err != nil:
		return OID{}, fmt.Errorf("resolve %s: %w", text.Mention(text.Clip(name)), err)
	}
	return ParseOID(strings.TrimSuffix(string(out), "\n"))
}

// Uncommitted lists the files of the work tree at path that differ from the commit that HEAD names, also those that git
// does not track, in git's order. No filter driver runs: a file that a filter made (Git LFS) may be listed although its
// content is the committed one, once its times are not those that the index has. Inside of submodules, which have a
// configuration of their own and are not deployed, nothing is looked at.
func Uncommitted(ctx context.Context, path string) ([]string, error) {
	filters, err := filterDrivers(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("look at work tree: %w", err)
	}
	out, err := asUser(ctx, filters, "-C", path, "--no-optional-locks", "status", "--porcelain=v1", "-z", "--no-renames",
		"--untracked-files=normal", "--ignore-submodules=dirty")
	if err != nil {
		return nil, fmt.Errorf("look at work tree: %w", err)
	}
	var names []string
	for entry := range strings.SplitSeq(out, "\x00") {
		if len(entry) > 3 { // two letters, a space, the name (git-status(1), "Short Format")
			names = append(names, entry[3:])
		}
	}
	return names, nil
}
