package hooks

import (
	"context"
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

// check asks every chain whether it takes its deploy, before anything is locked.
func (x *Session) check(ctx context.Context, out *speaker) error {
	var refused refusals
	for _, p := range x.plans {
		err := out.during(p.label, "checking", func(func(text.Progress)) (err error) {
			p.verdict, err = p.chain.Check(ctx, p.job)
			return err
		})
		if err != nil && !isRefusal(err) {
			return err // etcd or the repository is in trouble: the other targets would say the same
		}
		if err != nil {
			refused.add(err)
			continue
		}
		x.greet(p, out)
	}
	if err := refused.err(); err != nil {
		return err
	}
	x.leaveOut()
	return nil
}

// leaveOut takes the plans out that have nothing to do.
func (x *Session) leaveOut() {
	x.plans = slices.DeleteFunc(x.plans, func(p *plan) bool {
		if !p.verdict.Idle() {
			return false
		}
		x.already = x.already || p.verdict.Already
		x.unchanged = x.unchanged || p.verdict.Same
		x.release(p)
		return true
	})
}

// isRefusal tells a refusal of one deploy from trouble that concerns all.
func isRefusal(err error) bool {
	return !deploy.IsEtcd(err) && (fault.Is(err, fault.Conflict) || fault.Is(err, fault.Refused))
}

// concernsAll tells trouble with etcd, the repository or the server from what is wrong with one deploy.
func concernsAll(err error) bool {
	var left *leftError
	return !isRefusal(err) && !errors.As(err, &left) && !errors.Is(err, deploy.ErrLockLost)
}

// greet says what the verdict on a plan is, and, loudly, what is unusual about it.
func (x *Session) greet(p *plan, out *speaker) {
	out.line("%s", x.greeting(p))
	for _, warning := range warnings(p.verdict, p.job, x.options.dryRun) {
		out.line("%s%s", p.label, warning)
	}
	if x.options.force && p.verdict.Forced == nil {
		out.line("%sdeploy.force was not needed: there is nothing to override", p.label)
	}
}

// warnings say what is unusual about the verdict on a job, which with dryRun is not done.
func warnings(v *deploy.Verdict, job *deploy.Job, dryRun bool) []string {
	brings, forced := "brings", "forced"
	if dryRun {
		brings, forced = "would bring", "would be forced"
	}
	var lines []string
	if r := v.Undoes; r != nil {
		lines = append(lines, fmt.Sprintf("warning: deploy %d by %s was a rollback (%q), and this %s %s back what it undid", r.ID, r.By(), r.Record.Reason, job.Kind, brings))
	}
	if c := v.Forced; c != nil {
		lines = append(lines, fmt.Sprintf("warning: %s over %s, reason: %s", forced, overridden(c), job.Reason))
	}
	return lines
}

// over is the head that a verdict overrides, 0 if none.
func over(v *deploy.Verdict) record.ID {
	if v.Forced == nil {
		return 0
	}
	return v.Forced.Head.ID
}

// onlyOver lets force override nothing but the head that whoever forced was shown.
func onlyOver(v *deploy.Verdict, shown record.ID) error {
	if v.Forced == nil || over(v) == shown {
		return nil
	}
	conflict := *v.Forced
	conflict.Reason, conflict.Remedy = "", fmt.Sprintf("force overrides only what it was told of, and this came in between: look at it (refship show %d), then push again", over(v))
	return &conflict
}

// overridden names what force overrides: `deploy 8, 9c8b7a6 "hotfix", by ops, 12 minutes ago (your 77aa001 does not contain it)`.
func overridden(c *deploy.ConflictError) string {
	at := strings.TrimPrefix(c.At(), string(c.Namespace)+" is at ")
	return fmt.Sprintf("%s (%s)", at, c.Why)
}

// greeting says who deploys what: "config main 1a2b3c4 → 5d6e7f8, 3 commits, by laptop".
func (x *Session) greeting(p *plan) string {
	to := record.Hash(p.update.New.String()).Short()
	start := fmt.Sprintf("%s%s %s ", p.label, x.push.Repository, git.ShortRef(p.update.Ref))
	v := p.verdict
	switch {
	case v.Already:
		return fmt.Sprintf("%s%s is already deployed as %d", start, to, v.Head.ID)
	case v.Same:
		return p.label + unchanged(p.target, v.Head)
	case v.Head == nil:
		return fmt.Sprintf("%s→ %s, the first deploy, by %s", start, to, x.who.Name)
	}
	commits := text.Count(len(v.Commits), "commit")
	if v.More {
		commits = "more than " + commits
	}
	return fmt.Sprintf("%s%s → %s, %s, by %s", start, v.Head.Hash.Short(), to, commits, x.who.Name)
}

// unchanged says that a commit changes nothing that a target deploys.
func unchanged(t target.Target, head *record.Deploy) string {
	return fmt.Sprintf("nothing below %s changed: no deploy, %s stays at deploy %d", t.Path, t.Namespace, head.ID)
}
