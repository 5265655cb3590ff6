package git

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Revision is what a git revision (gitrevisions(7)) names in a repository.
type Revision struct {
	Commit  OID
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
	out, err := parse("--quiet", "--end-of-options", rev)
	if err == nil {
		out, err = parse("--quiet", "--end-of-options", out+"^{commit}")
	}
	if err != nil {
		return Revision{}, &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%q names no commit in %s", text.Clip(rev), path),
			Remedy: "name a branch, a tag, HEAD or an oid that it has: git log --all --oneline lists commits",
		}
	}
	r := Revision{}
	if r.Commit, err = ParseOID(out); err != nil {
		return Revision{}, fmt.Errorf("resolve %q: %w", text.Clip(rev), err)
	}
	// HEAD~1 and the like are no ref's name, and git does not choose between two refs of one name.
	if ref, err := parse("--symbolic-full-name", "--end-of-options", rev); err == nil && CheckRef(ref) == nil {
		r.Ref = ref
	}
	out, err = AsUser(ctx, "-C", path, "show", "--no-patch", "--no-show-signature", "--format=%s",
		"--end-of-options", r.Commit.String())
	if err != nil {
		return Revision{}, fmt.Errorf("read commit %s: %w", r.Commit, err)
	}
	r.Subject = strings.TrimSuffix(out, "\n")
	return r, nil
}

// Uncommitted lists the files of the work tree at path that differ from the commit that HEAD names, also those that git
// does not track, in git's order.
func Uncommitted(ctx context.Context, path string) ([]string, error) {
	out, err := AsUser(ctx, "-C", path, "--no-optional-locks", "status", "--porcelain=v1", "-z", "--no-renames",
		"--untracked-files=normal")
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
