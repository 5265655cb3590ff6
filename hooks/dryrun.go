package hooks

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy"
	"refship/deploy/text"
)

// maxChanges is how many changed files a dry run names for each target.
const maxChanges = 50

// errDryRun ends a push with deploy.dry-run to which nothing is to be objected.
var errDryRun = errors.New("dry run: nothing was pushed or deployed")

// dryRun does all that a push does up to the upload, takes no lock, writes nothing, tells what the deploys would be, and
// refuses the push.
func (x *Session) dryRun(ctx context.Context, out *speaker) error {
	give, err := x.turn(ctx, out)
	if err != nil {
		return err
	}
	defer give()
	if err := x.read(ctx, out); err != nil {
		return err
	}
	if len(x.plans) == 0 {
		out.line("dry run: nothing would be deployed")
	}
	for _, p := range x.plans {
		tellDryRun(p.update.New.String(), p.verdict, p.prepared, func(words string) { out.line("%s%s", p.label, words) })
	}
	return errDryRun
}

// tellDryRun tells what one deploy would be.
func tellDryRun(hash string, v *deploy.Verdict, r *deploy.Prepared, say func(string)) {
	previous := "none"
	if head := v.Head; head != nil {
		previous = "unknown"
		if head.Hash != "" {
			previous = string(head.Hash)
		}
	}
	say(fmt.Sprintf("dry run: previous hash %s, new hash %s", previous, hash))
	recorded := ""
	if n := len(r.Submodules); n > 0 {
		recorded = ", " + text.Count(n, "submodule") + " recorded"
	}
	say(fmt.Sprintf("dry run: %s added, %d modified, %d deleted%s", text.Count(r.Added, "file"), r.Modified, r.Deleted, recorded))
	files := 0
	for _, c := range r.Listed[:min(len(r.Listed), maxChanges)] {
		kind, what := "M", ""
		switch {
		case c.Old == nil:
			kind = "A"
		case c.New == nil:
			kind = "D"
		}
		if c.Old != nil && c.Old.Mode == filemode.Submodule || c.New != nil && c.New.Mode == filemode.Submodule {
			what = " (submodule)"
		} else {
			files++
		}
		say(fmt.Sprintf("%s %s%s", kind, c.Path, what))
	}
	if more := r.Changed - files; more > 0 {
		say(fmt.Sprintf("… and %d more", more))
	}
}
