package git

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Revision is what a name of git's (gitrevisions(7)) means in a repository.
type Revision struct {
	Commit  OID
	Ref     string // full name of the ref that was named, also as HEAD; "" if none was
	Subject string // of the commit
}

// FindRevision resolves rev where path is: HEAD is that of its work tree. It is git that resolves, as its user's.
func FindRevision(ctx context.Context, path, rev string) (Revision, error) {
	// In two steps: to some names (":/text") nothing can be appended.
	out, err := AsUser(ctx, "-C", path, "rev-parse", "--verify", "--quiet", "--end-of-options", rev)
	if err == nil {
		out, err = AsUser(ctx, "-C", path, "rev-parse", "--verify", "--quiet", "--end-of-options", strings.TrimSuffix(out, "\n")+"^{commit}")
	}
	if err != nil {
		return Revision{}, &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%q names no commit in %s", text.Clip(rev), path),
			Remedy: "name a branch, a tag, HEAD or an oid that it has: git log --all --oneline lists commits",
		}
	}
	r := Revision{}
	if r.Commit, err = ParseOID(strings.TrimSuffix(out, "\n")); err != nil {
		return Revision{}, fmt.Errorf("resolve %q: %w", text.Clip(rev), err)
	}
	// A name that is no ref's, such as HEAD~1, has no full name; one that several refs have, git refuses to choose.
	if out, err = AsUser(ctx, "-C", path, "rev-parse", "--verify", "--symbolic-full-name", "--end-of-options", rev); err == nil {
		if ref := strings.TrimSuffix(out, "\n"); CheckRef(ref) == nil {
			r.Ref = ref
		}
	}
	out, err = AsUser(ctx, "-C", path, "show", "--no-patch", "--no-show-signature", "--format=%s", "--end-of-options", r.Commit.String())
	if err != nil {
		return Revision{}, fmt.Errorf("read commit %s: %w", r.Commit, err)
	}
	r.Subject = strings.TrimSuffix(out, "\n")
	return r, nil
}

// Uncommitted lists the files of the work tree at path that are not as the commit HEAD has them, sorted as git has them,
// also those that git does not know.
func Uncommitted(ctx context.Context, path string) ([]string, error) {
	out, err := AsUser(ctx, "-C", path, "--no-optional-locks", "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal")
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
