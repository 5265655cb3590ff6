package hooks

import (
	"errors"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// publish makes a plan's deploy visible. Where the verdict says that there was nothing to do, the deploy is the head.
func (x *Session) publish(p *plan, say func(string), progress func(text.Progress)) (*record.Deploy, *deploy.Verdict, error) {
	if p.prepared != nil {
		prepared := p.prepared
		p.prepared = nil
		d, err := prepared.Publish(x.publishing)
		if err == nil {
			p.lock = nil // the txn took it
			return d, p.verdict, nil
		}
		if !errors.Is(err, deploy.ErrLockLost) {
			return nil, nil, err
		}
		x.server.cfg.Log.WarnContext(x.publishing, "publish again", "namespace", p.target.Namespace, "error", err)
	}
	// Who waits for a lock holds none that comes later: the others are taken anew in their turn.
	for _, o := range x.plans {
		x.release(o)
	}
	w := &work{
		server: x.server, gitDir: x.push.Dir, chain: p.chain, job: p.job, over: over(p.verdict),
		say: say, progress: progress, cost: &x.cost,
	}
	return w.do(x.publishing)
}

// finish publishes a plan whose ref has moved, says so, and takes it out of the intent. Once etcd or the repository was
// in trouble no other plan is tried.
func (x *Session) finish(p *plan, say func(string), progress func(text.Progress)) error {
	p.done = true
	if x.trouble != nil {
		say(fmt.Sprintf("pushed, not deployed: nor is %s published", p.target.Namespace))
		return x.trouble
	}
	d, v, err := x.publish(p, say, progress)
	x.release(p)
	if err != nil {
		err = fmt.Errorf("publish to %s: %w", p.target.Namespace, err)
		if concernsAll(err) {
			x.trouble = err
		}
		x.outcome.Undeployed = errors.Join(x.outcome.Undeployed, err)
		for _, line := range x.undeployed(p.target, err) {
			say(line)
		}
		return err
	}
	x.step("published")
	switch {
	case v.Already:
		x.already = true
		say(fmt.Sprintf("%s%s is already deployed as %d", p.label, d.Hash.Short(), d.ID))
	case v.Same:
		x.unchanged = true
		say(p.label + unchanged(p.target, d))
	default:
		x.outcome.Published = append(x.outcome.Published, d)
		x.deploys = append(x.deploys, fmt.Sprintf("%s %d", p.target.Namespace, d.ID))
		x.forced = x.forced || d.Record.Forced
		x.commits += d.Record.Commits
		if isNewer(v, p.verdict) { // its lock was lost, and the chain went on
			for _, warning := range warnings(v, p.job, false) {
				say(p.label + warning)
			}
		}
		say(p.label + published(d, time.Since(x.started)))
	}
	if err := x.intent.Drop(x.push.Dir, p.target.Name); err != nil {
		// The deploy stands; reconcile finds it published and drops the intent.
		x.server.cfg.Log.ErrorContext(x.publishing, "drop intent", "push", x.id, "error", err)
		return nil
	}
	x.step("intent-removed")
	return nil
}

// undeployed says that a ref is ahead of its chain, and what to do.
func (x *Session) undeployed(t target.Target, err error) []string {
	return append(x.server.explain("pushed, not deployed", err), "hint: the ref has moved; deploy it with: "+x.server.redeploy(x.push.Repository, t))
}

// published says what became of a push.
func published(d *record.Deploy, took time.Duration) string {
	words := fmt.Sprintf("deploy %d published in %s: %s", d.ID, text.Took(took), d.Hash.Short())
	switch {
	case d.Record != nil && d.Record.PreviousHash != "":
		return words + " replaces " + d.Record.PreviousHash.Short()
	case d.ID == 1:
		return words + " is the first"
	}
	return words
}
