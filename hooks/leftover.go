package hooks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/output"
	"refship/hooks/report"
	"refship/hooks/status"
	"refship/hooks/target"
	"refship/hooks/words"
)

// publishLeft publishes or drops the intents that pushes left.
func (r *reconciler) publishLeft(ctx context.Context) {
	for in, err := range intent.All(r.gitDir) {
		var bad *intent.Bad
		switch {
		case errors.As(err, &bad):
			r.out.Line("%s: not readable, kept as %s: %v", r.name, filepath.Base(bad.Path)+intent.BadSuffix, bad.Err)
			r.note(bad.Aside())
		case err != nil:
			r.note(err)
		case !r.engine.isRunning(in.Push): // else the push settles it
			r.note(r.settleIntent(ctx, in))
		}
	}
}

// settleIntent publishes or drops each entry of an intent.
func (r *reconciler) settleIntent(ctx context.Context, in *intent.Intent) error {
	var refs []string
	for _, entry := range in.Deploys {
		refs = append(refs, entry.Target.Ref)
	}
	now, err := git.ReadRefs(ctx, r.gitDir, refs)
	if err != nil {
		return err
	}
	targets, err := target.ReadTargets(r.gitDir)
	if err != nil {
		return err
	}
	for _, entry := range slices.Clone(in.Deploys) {
		t, at := entry.Target, now[entry.Target.Ref]
		switch {
		case !r.engine.alone && in.MayRun(at == entry.Old):
			continue
		case at != entry.New:
		case !r.wanted(t):
			continue
		case !slices.ContainsFunc(targets, t.Same):
			r.giveUp("%snot deployed: the target %s was changed or removed since", r.label(in, t), t.Name)
		default:
			err := r.publish(ctx, in, entry)
			r.settled[t.Namespace] = err == nil
			if err != nil {
				if r.failed != nil {
					r.failed(t, err)
				}
				r.note(fmt.Errorf("deploy %s of %s's push to %s: %w", entry.New, in.Pusher.Name, t.Ref, err))
				continue
			}
		}
		r.note(in.DropLeft(r.gitDir, t.Name))
	}
	return nil
}

// giveUp tells why what a ref still has is dropped undeployed.
func (r *reconciler) giveUp(format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	r.out.Line("%s", why)
	r.givenUp = errors.Join(r.givenUp, errors.New(why))
}

// label starts each line about an intent's entry.
func (r *reconciler) label(in *intent.Intent, t target.Target) string {
	return fmt.Sprintf("%s %s: left by a push of %s: ", r.name, git.ShortRef(t.Ref), in.Pusher.Name)
}

// publish deploys an intent's entry, unless the chain has made it out of date. The target's check is not
// run again: pre-receive wrote the intent after it had passed, and a target whose check was changed is not deployed.
func (r *reconciler) publish(ctx context.Context, in *intent.Intent, entry intent.Entry) error {
	if outdated, err := r.isOutdated(ctx, in, entry); outdated || err != nil {
		return err
	}
	d := r.engine.entryDelivery(r.name, in, entry)
	d.label = r.label(in, entry.Target)
	one := r.engine.newRun(r.gitDir, r.out, d)
	one.cost = r.cost
	if err := one.deliver(ctx); err != nil {
		return err
	}
	r.published = append(r.published, resultsOf(one.deliveries).lines...)
	r.engine.cfg.Log.InfoContext(ctx, "reconcile", "repository", r.name, "user", in.Pusher.Name, "key", in.Pusher.Key,
		"push", in.Push, "ref", entry.Target.Ref, "to", d.deploy.Hash,
		"namespace", entry.Target.Namespace, "deploy", d.deploy.ID,
		"already", d.idle(), "forced", entry.Forced, "reason", text.Shorten(entry.Reason, report.MaxValue))
	return nil
}

// entryDelivery makes the delivery of an intent's entry. Force overrides the head that the push was told of, and no
// other.
func (e *Engine) entryDelivery(repository string, in *intent.Intent, entry intent.Entry) *delivery {
	job := e.NewJob(record.KindPush, repository, entry.Target, entry.New, in.Pusher)
	job.Force, job.Reason, job.Moved = entry.Forced, entry.Reason, true
	if entry.Again != 0 {
		job.Again = []record.ID{entry.Again}
	}
	job.Certificate, _ = git.ParseOID(in.Certificate) // zero where it is "": the intent has nothing else
	d := e.newDelivery(entry.Target, job)
	d.checked, d.vouched, d.judged, d.forcedHead = true, true, true, entry.ForcedHead
	return d
}

// isOutdated tells whether the chain has made an intent out of date since it was written: it has had the commit
// already, or another was forced, or the chain was rolled back.
func (r *reconciler) isOutdated(ctx context.Context, in *intent.Intent, entry intent.Entry) (bool, error) {
	t, hash := entry.Target, record.CommitHash(entry.Deploys())
	itself, since, err := status.Since(ctx, r.engine.cfg.Store.Chain(t.Namespace), entry.Head, hash)
	switch {
	case err != nil:
	case itself != nil:
		r.out.Line("%s%s", r.label(in, t), words.Already(t.Namespace, hash, itself))
	case since != nil:
		r.giveUp("%s%s", r.label(in, t), words.Overtaken(hash, since, r.engine.commands.Redeploy(r.name, t)))
	}
	return itself != nil || since != nil, err
}

// dropSuperseded drops the intents of dead pushes whose refs a push has moved on since: if a ref came back to what
// one of them had, it would not count any more.
func (e *Engine) dropSuperseded(ctx context.Context, repository, gitDir string) {
	r := e.reconciler(repository, gitDir, &output.Output{Send: func(line string) error {
		e.cfg.Log.WarnContext(ctx, "drop superseded intents", "repository", repository, "line", line)
		return nil
	}})
	r.wanted = func(target.Target) bool { return false }
	r.publishLeft(ctx)
	if r.err != nil {
		e.cfg.Log.WarnContext(ctx, "drop superseded intents", "repository", repository, "error", r.err)
	}
}
