package hooks

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/report"
	"refship/hooks/target"
	"refship/hooks/words"
)

// errDryRun ends a dry run that found nothing wrong.
var errDryRun = errors.New("dry run: nothing was pushed or deployed")

// rehearse does all of a dry run that comes after the checks: it reads without a lock, and tells what the deploys
// would be.
func (r *run) rehearse(ctx context.Context) error {
	if len(r.open()) > 0 {
		if err := r.inTurn(ctx, r.read); err != nil {
			return err
		}
	}
	if len(r.open()) == 0 {
		r.out.Line("dry run: nothing would be deployed")
	}
	for _, d := range r.open() {
		r.tell(d, words.Rehearsal(d.job, d.prepared)...)
	}
	return errDryRun
}

// DryRun is what a user asks for by naming a commit that a repository has: what a push of it to the targets' ref would
// deploy, of one target only if its name is given. It writes nothing, and its error is the one that the push would
// have. See Deploy for tell and client.
func (e *Engine) DryRun(ctx, client context.Context, name, gitDir, only, commit string, who record.Pusher,
	tell func(string)) error {
	q := e.newRequested(client, name, gitDir, who, tell)
	err := q.dryRun(ctx, only, commit)
	for _, d := range q.deliveries {
		if err == nil && d.verdict != nil && d.verdict.Held != nil {
			err = deploy.HeldError(d.target.Namespace, d.verdict.Held)
		}
	}
	result := report.DryRun
	if err != nil {
		result = report.Refused
	}
	q.report(ctx, result, new(results), err, report.Value("target", only), report.Value("commit", commit))
	return err
}

func (q *requested) dryRun(ctx context.Context, only, name string) error {
	targets, err := target.ReadTargets(q.gitDir)
	if err != nil {
		return err
	}
	if targets, err = target.Choose(q.name, targets, only); err != nil {
		return err
	}
	if len(targets) > 0 && len(target.OfRef(targets, targets[0].Ref)) < len(targets) {
		return fault.New(fault.Usage, q.name+" has targets of several refs", "name one: "+q.name+":TARGET; its targets: "+
			target.Names(targets))
	}
	commit, err := git.FindCommit(ctx, q.gitDir, name)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		q.out.Line("%s: nothing would be deployed", target.NoneIn(q.name))
		return nil
	}
	for _, t := range targets {
		job := q.engine.NewJob(record.KindPush, q.name, t, commit, q.who)
		q.deliveries = append(q.deliveries, q.engine.newDelivery(t, job))
	}
	sortDeliveries(q.deliveries)
	r := q.engine.newRun(q.gitDir, q.out, q.deliveries...)
	r.client, r.gone, r.cost = q.client, errAskerGone, q.cost
	r.greet, r.announce, r.dryRun, r.aboutCommit = true, true, true, true
	if err := r.prepare(ctx); err != nil && !errors.Is(err, errDryRun) {
		return err
	}
	q.out.Line("dry run: nothing was deployed")
	return nil
}

// honestDryRun says how a dry run has an exit status of its own: git push ends with 1 for every refusal. It names the
// commit of the first delivery.
func (p *push) honestDryRun() string {
	if p.engine.cfg.Redeploy != nil || p.run == nil || len(p.run.deliveries) == 0 {
		return "" // an installed hook has no ssh commands
	}
	first := p.run.deliveries[0]
	chain := p.Repository
	if len(p.Targets) > 1 {
		chain += ":" + first.target.Name
	}
	return fmt.Sprintf("hint: git push ends with 1 for this, too; for an exit status of its own push the commit to "+
		"another ref, then: %s check %s %s", p.engine.SSH(), chain, first.job.Hash())
}
