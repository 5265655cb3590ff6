package hooks

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// delivery is one target's commit, or a plain directory, on its way into one chain.
type delivery struct {
	target target.Target // its check is run; without a name only the namespace counts
	chain  *deploy.Chain
	job    *deploy.Job // a run opens its Repo
	label  string      // starts each line about it

	checked    bool      // its check has passed, or it has none
	judged     bool      // the verdict was told; before that, forcedHead says nothing
	seenHead   record.ID // the head of the first verdict; 0: none
	forcedHead record.ID // the one head that the job's Force may override: that which its user was told of; 0: none

	verdict     *deploy.Verdict
	lock        *deploy.Lock     // nil: not held
	prepared    *deploy.Prepared // nil: not prepared, or published
	frontend    record.Frontend  // what the job's auto has picked, for the check
	finished    bool             // published or not, its user was told
	deploy      *record.Deploy   // what was published, or the head where there was nothing to do
	published   bool
	read        *deploy.Prepared // what was read last, for what tells of it afterwards
	amountsTold bool
}

// newDelivery makes the delivery of a job.
func (e *Engine) newDelivery(t target.Target, job *deploy.Job) *delivery {
	return &delivery{target: t, chain: e.cfg.Store.Chain(t.Namespace), job: job, checked: t.Check == ""}
}

// sortDeliveries puts them into the order in which locks are taken, so that two pushes never wait for each other. Each
// line about one of several names its chain.
func sortDeliveries(all []*delivery) {
	slices.SortFunc(all, func(a, b *delivery) int { return cmp.Compare(a.target.Namespace, b.target.Namespace) })
	if len(all) > 1 {
		for _, d := range all {
			d.label = labelOf(d.target)
		}
	}
}

// labelOf starts a line about one of several deliveries.
func labelOf(t target.Target) string { return string(t.Namespace) + ": " }

// ReasonHeadSince: a head has come after the one that force was told of. About: its id.
const ReasonHeadSince fault.Reason = "head-since"

// idle tells whether there is nothing to deploy.
func (d *delivery) idle() bool { return d.verdict != nil && d.verdict.Idle() }

// takeVerdict takes a new verdict in. Force overrides nothing but the head that its user was told of.
func (d *delivery) takeVerdict(v *deploy.Verdict) error {
	head := record.ID(0)
	if v.Forced != nil {
		head = v.Forced.Head.ID
	}
	if d.judged && v.Forced != nil && head != d.forcedHead {
		conflict := *v.Forced
		conflict.Reason, conflict.About, conflict.Remedy = ReasonHeadSince, []string{fmt.Sprint(head)}, ""
		return &conflict
	}
	if d.judged && v.Again != 0 && !slices.Contains(d.job.Again, v.Again) && v.Again != d.seenHead {
		return &deploy.ConflictError{
			Namespace: d.target.Namespace, Head: v.Head, Reason: ReasonHeadSince, About: []string{fmt.Sprint(v.Again)},
			Why: "that took back what comes back with this " + string(d.job.Kind),
		}
	}
	if !d.judged && v.Head != nil {
		d.seenHead = v.Head.ID
	}
	d.verdict, d.judged, d.forcedHead = v, true, head
	return nil
}

// isNewer tells whether a verdict has another head than the one before.
func isNewer(v, before *deploy.Verdict) bool {
	return v.Head != nil && (before.Head == nil || v.Head.ID != before.Head.ID)
}

// isRefusal tells a refusal of one delivery from trouble that concerns all.
func isRefusal(err error) bool {
	var conflict *deploy.ConflictError
	return errors.As(err, &conflict) ||
		!deploy.IsEtcd(err) && (fault.Is(err, fault.Conflict) || fault.Is(err, fault.Refused))
}

// concernsAll tells trouble with etcd, the repository or the server from what is wrong with one delivery.
func concernsAll(err error) bool {
	var left *leftError
	return !isRefusal(err) && !errors.As(err, &left) && !errors.Is(err, deploy.ErrLockLost)
}

// greeting says who deploys what: "config main 1a2b3c4 → 5d6e7f8, 3 commits, by laptop".
func (d *delivery) greeting() string {
	v, job := d.verdict, d.job
	to, start := job.Hash().Short(), d.label+job.Repository+" "+git.ShortRef(job.Ref)
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

// warnings say what is unusual about the verdict; a dry run does not do it.
func (d *delivery) warnings(dryRun bool) []string {
	brings, forced := "brings", "forced"
	if dryRun {
		brings, forced = "would bring", "would be forced"
	}
	v := d.verdict
	var lines []string
	for _, u := range v.Back {
		lines = append(lines, fmt.Sprintf("warning: this %s %s back %s of deploy %d, which was undone", d.job.Kind, brings,
			u.Hash.Short(), u.ID))
	}
	switch {
	case v.Held == nil:
	case d.job.To != nil:
		lines = append(lines, fmt.Sprintf("warning: %s stays on hold%s", d.target.Namespace, v.Held))
	default: // a dry run
		lines = append(lines, fmt.Sprintf("warning: %s is on hold%s, and takes no deploy", d.target.Namespace, v.Held))
	}
	if c := v.Forced; c != nil {
		// such as: forced over deploy 8, 9c8b7a6 "hotfix", by ops, 12 minutes ago (your 77aa001 does not contain it)
		head := strings.TrimPrefix(c.At(), string(c.Namespace)+" is at ")
		lines = append(lines, fmt.Sprintf("warning: %s over %s (%s), reason: %s", forced, head, c.Why, d.job.Reason))
	}
	if v.Restarts() {
		lines = append(lines, "warning: no sound record is left: the chain restarts with this deploy")
	}
	for _, odd := range v.Odd {
		lines = append(lines, "warning: "+odd)
	}
	return lines
}

// amounts say what a deploy changes and how much there is to store.
func (d *delivery) amounts() []string {
	p := d.prepared
	lines := []string{fmt.Sprintf("%s changed, %s new, %s to store", changed(p), text.Count(p.NewContents, "content"),
		text.Size(p.NewBytes))}
	lines = append(lines, d.picked()...)
	if n := len(p.Submodules); n > 0 {
		lines = append(lines, fmt.Sprintf("warning: %s recorded only, without content: %s",
			text.Plural(n, "submodule is", "submodules are"), text.FirstFew(p.Submodules)))
	}
	return lines
}

// picked says what the frontend auto has picked; of another frontend there is nothing to say.
func (d *delivery) picked() []string {
	if d.job.Frontend != record.Auto {
		return nil
	}
	return []string{fmt.Sprintf("frontend auto: %s, it starts with %s", d.prepared.Frontend, d.prepared.Entry)}
}

// changed counts what a deploy changes: "4 of 812 files", "0 of 812 files and 1 submodule". A submodule's commit is
// in the tree that is recorded: another one makes another deploy.
func changed(p *deploy.Prepared) string {
	words := fmt.Sprintf("%d of %s", p.Changed, text.Count(p.Files+p.Deleted, "file"))
	if n := len(p.Submodules); n > 0 {
		words += " and " + text.Count(n, "submodule")
	}
	return words
}
