package words

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// maxChanges is how many changed files a rehearsal names.
const maxChanges = 50

// Previous says what a deploy is compared with: the chain's head, or nil.
func Previous(ns record.Namespace, head *record.Deploy) string {
	switch {
	case head == nil:
		return "previous hash: none, " + ns.Undeployed()
	case head.Hash == "":
		return fmt.Sprintf("previous hash: unknown, deploy %d of %s by %s has none", head.ID, ns, head.By())
	}
	return fmt.Sprintf("previous hash: %s, deploy %d of %s by %s", head.Hash, head.ID, ns, head.By())
}

// Greeting says who deploys what: "config main 1a2b3c4 → 5d6e7f8, 3 commits, by laptop".
func Greeting(job *deploy.Job, v *deploy.Verdict) string {
	to, start := job.Hash().Short(), job.Repository+" "+git.ShortRef(job.Ref)
	if v.Head == nil {
		return fmt.Sprintf("%s → %s, the first deploy, by %s", start, to, job.Pusher.Name)
	}
	commits := record.CountCommits(v.Counted())
	from := v.Head.Hash.Short()
	if from == "" {
		from = "unknown"
	}
	return fmt.Sprintf("%s %s → %s, %s, by %s", start, from, to, commits, job.Pusher.Name)
}

// Warnings say what is unusual about the verdict. A dry run would do what they tell.
func Warnings(ns record.Namespace, job *deploy.Job, v *deploy.Verdict) []string {
	brings, forced := "brings", "forced"
	if job.DryRun {
		brings, forced = "would bring", "would be forced"
	}
	var lines []string
	for _, u := range v.Back {
		lines = append(lines, fmt.Sprintf("warning: this %s %s back %s of deploy %d, which was undone", job.Kind, brings,
			u.Hash.Short(), u.ID))
	}
	switch {
	case v.Held == nil:
	case job.To != nil:
		lines = append(lines, fmt.Sprintf("warning: %s stays on hold%s", ns, v.Held))
	default: // a dry run
		lines = append(lines, fmt.Sprintf("warning: %s is on hold%s, and takes no deploy", ns, v.Held))
	}
	if c := v.Forced; c != nil {
		// such as: forced over deploy 8, 9c8b7a6 "hotfix", by ops, 12 minutes ago (your 77aa001 does not contain it)
		head := strings.TrimPrefix(c.At(), string(c.Namespace)+" is at ")
		lines = append(lines, fmt.Sprintf("warning: %s over %s (%s), reason: %s", forced, head, c.Why, job.Reason))
	}
	if v.Restarts() {
		lines = append(lines, "warning: no sound record is left: the chain restarts with this deploy")
	}
	for _, odd := range v.Odd {
		lines = append(lines, "warning: "+odd)
	}
	return lines
}

// Amounts say what a deploy changes and how much there is to store.
func Amounts(job *deploy.Job, p *deploy.Prepared) []string {
	changed := fmt.Sprintf("%d of %s", p.Changed, text.Count(p.Files+p.Deleted, "file"))
	n := len(p.Submodules)
	if n > 0 { // a submodule's commit is in the tree that is recorded: another one makes another deploy
		changed += " and " + text.Count(n, "submodule")
	}
	atMost := ""
	if p.AtMost {
		atMost = "at most "
	}
	lines := []string{fmt.Sprintf("%s changed, %s%s new, %s to store", changed, atMost,
		text.Count(p.NewContents, "content"), text.Size(p.NewBytes))}
	lines = append(lines, Picked(job, p)...)
	if n > 0 {
		lines = append(lines, fmt.Sprintf("warning: %s recorded only, without content: %s",
			text.Plural(n, "submodule is", "submodules are"), text.FirstFew(p.Submodules)))
	}
	return lines
}

// Uploaded says what was new of what Amounts said at most.
func Uploaded(p *deploy.Prepared) string {
	return fmt.Sprintf("%s new, %s stored", text.Count(p.NewContents, "content"), text.Size(p.NewBytes))
}

// Picked says what the frontend auto has picked; of another frontend there is nothing to say.
func Picked(job *deploy.Job, p *deploy.Prepared) []string {
	if job.Frontend != record.Auto {
		return nil
	}
	return []string{fmt.Sprintf("frontend auto: %s, it starts with %s", p.Frontend, p.Entry)}
}

// Rehearsal says what a deploy would do that is not made.
func Rehearsal(job *deploy.Job, p *deploy.Prepared) []string {
	previous := "none"
	if head := p.Verdict.Head; head != nil {
		previous = "unknown"
		if head.Hash != "" {
			previous = string(head.Hash)
		}
	}
	recorded := ""
	if n := len(p.Submodules); n > 0 {
		recorded = ", " + text.Count(n, "submodule") + " recorded"
	}
	lines := []string{
		fmt.Sprintf("dry run: previous hash %s, new hash %s", previous, job.Hash()),
		fmt.Sprintf("dry run: %s added, %d modified, %d deleted%s", text.Count(p.Added, "file"), p.Modified,
			p.Deleted, recorded),
	}
	files := 0
	for _, c := range p.Listed[:min(len(p.Listed), maxChanges)] {
		what := ""
		if c.Old != nil && c.Old.Mode == filemode.Submodule || c.New != nil && c.New.Mode == filemode.Submodule {
			what = " (submodule)"
		} else {
			files++
		}
		lines = append(lines, fmt.Sprintf("%s %s%s", c.Status(), c.Path, what))
	}
	if more := p.Changed - files; more > 0 {
		lines = append(lines, text.More(more))
	}
	return lines
}

// Published says what was published, and how long the run has taken.
func Published(job *deploy.Job, d *record.Deploy, took time.Duration) string {
	line := fmt.Sprintf("deploy %d published in %s: %s", d.ID, text.Took(took), d.Hash.Short())
	if to := job.To; to != nil {
		line += fmt.Sprintf(" of deploy %d", to.ID)
	}
	switch previous := d.Record.PreviousHash; {
	case previous != "":
		line += " replaces " + previous.Short()
	case d.ID == 1:
		line += " is the first"
	}
	if job.Signer == nil {
		line += ", not signed"
	}
	return line
}

// NothingToDo says why an idle verdict makes no deploy.
func NothingToDo(ns record.Namespace, job *deploy.Job, v *deploy.Verdict) string {
	if v.Already {
		return Already(ns, v.Head.Hash, v.Head)
	}
	return fmt.Sprintf("nothing below %s changed: no deploy, %s stays at deploy %d", job.Path, ns, v.Head.ID)
}

// Overtaken says why a hash of an intent is not deployed: since is a rollback, or was forced. redeploy is the command
// that deploys it all the same.
func Overtaken(hash record.Hash, since *record.Deploy, redeploy string) string {
	if since.Record.Kind == record.KindRollback {
		return fmt.Sprintf("%s is not deployed: %s has rolled back with deploy %d since: %s", hash.Short(), since.By(),
			since.ID, text.Printable(record.Shorten(since.Record.Reason)))
	}
	return fmt.Sprintf("%s is not deployed: %s has forced deploy %d since; to deploy it: %s", hash.Short(), since.By(),
		since.ID, redeploy)
}

// Already says that a deploy is of this hash, or has come after it in its line.
func Already(ns record.Namespace, hash record.Hash, d *record.Deploy) string {
	if d.Hash != hash {
		return fmt.Sprintf("%s is already deployed within %d of %s, %s", hash.Short(), d.ID, ns, d.Hash.Short())
	}
	by := ""
	if d.Record == nil { // only mgmt writes those
		by = ", by mgmt"
	}
	return fmt.Sprintf("%s is already deployed as %d of %s%s", hash.Short(), d.ID, ns, by)
}

// Released says which rings may run what was published; nothing where it is for all nodes at once.
func Released(r *record.Rollout) []string {
	switch {
	case r == nil:
		return nil
	case r.ToAll():
		return []string{fmt.Sprintf("deploy %d is released to all rings", r.ID)}
	}
	return []string{fmt.Sprintf("deploy %d is released to %s, and not yet to %s", r.ID,
		strings.Join(r.Rings[:r.Released], ", "), strings.Join(r.Rings[r.Released:], ", "))}
}
