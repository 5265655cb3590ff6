package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/target"
)

var errAskerGone = errors.New("the client is gone, and the deploy was not yet begun")

// Deploy brings a repository's chains to where its refs are, because a user asks for it: first what pushes left, as
// their own user's; then every target whose ref is not what the head deployed, as the asking user's; of one target
// only if its name is given. It never makes a commit. say gets each line as it happens, without "refship: ". The
// error joins what could not be done; everything else was done all the same.
//
// The targets' own checks, before which nothing of a deploy was written, end with client as well, and their deploys are
// not made; the error is client's cause, if it has one of its own. What has passed, or has no check, goes on without
// client. A nil client does not leave.
func (e *Engine) Deploy(ctx, client context.Context, name, gitDir, only string, who record.Pusher,
	say func(string)) error {
	q := &requested{
		engine: e, client: client, name: name, gitDir: gitDir, who: who, cost: new(cost),
		out: &output{every: e.every, send: func(line string) error { say(line); return nil }},
	}
	start := time.Now()
	err := q.deploy(ctx, only)
	q.report(ctx, only, time.Since(start), err)
	return err
}

// requested is a deploy that a user asked for.
type requested struct {
	engine *Engine
	client context.Context // see Deploy
	name   string
	gitDir string
	who    record.Pusher
	out    *output
	cost   *cost
	done   results
}

func (q *requested) deploy(ctx context.Context, only string) error {
	targets, err := target.ReadTargets(q.gitDir)
	if err != nil {
		return err
	}
	if targets, err = target.Choose(q.name, targets, only); err != nil {
		return err
	}
	if len(targets) == 0 {
		q.out.line("%s has no target", q.name)
	}
	left := q.engine.reconciler(q.name, q.gitDir, q.out)
	left.cost = q.cost
	left.wanted = func(t target.Target) bool { return only == "" || t.Name == only }
	left.publishLeft(ctx)
	q.done.lines = append(q.done.lines, left.published...)
	now, err := git.ReadRefs(ctx, q.gitDir, target.Refs(targets))
	if err != nil {
		return errors.Join(left.err, err)
	}
	for _, t := range targets {
		at, exists := now[t.Ref]
		if left.isSettled(t) && !left.settled[t.Namespace] {
			continue // it was told why; and it stays the deploy of the user who pushed it
		}
		if !exists {
			q.out.line("%s of %s does not exist yet: git push REMOTE BRANCH:%s", t.Ref, q.name, git.ShortRef(t.Ref))
			continue
		}
		if err := q.target(ctx, t, at, len(targets) > 1); err != nil {
			left.err = errors.Join(left.err, fmt.Errorf("deploy %s of %s: %w", t.Ref, q.name, err))
		}
	}
	return left.err
}

// target deploys what one target's ref has.
func (q *requested) target(ctx context.Context, t target.Target, at git.OID, several bool) error {
	d := q.engine.newDelivery(t, q.engine.NewJob(record.KindDeploy, q.name, t, at, q.who))
	if several {
		d.label = labelOf(t)
	}
	one := &run{
		engine: q.engine, gitDir: q.gitDir, deliveries: []*delivery{d}, out: q.out, client: q.client, gone: errAskerGone,
		began: time.Now(), cost: q.cost,
	}
	err := one.deliver(ctx)
	done := one.results()
	q.done.lines = append(q.done.lines, done.lines...)
	q.done.already, q.done.unchanged = q.done.already || done.already, q.done.unchanged || done.unchanged
	return err
}

// report writes the one line that the log has of each requested deploy, and tells what counts them.
func (q *requested) report(ctx context.Context, only string, took time.Duration, err error) {
	result := resultNothing
	switch {
	case err != nil && len(q.done.lines) == 0 && !concernsAll(err):
		result = resultRefused
	case err != nil:
		result = resultUndeployed
	case len(q.done.lines) > 0:
		result = resultDeployed
	case q.done.already:
		result = resultAlready
	case q.done.unchanged:
		result = resultUnchanged
	}
	attrs := []slog.Attr{
		slog.String("repository", q.name), slog.String("target", cut(only, maxLoggedValue)),
		slog.String("user", q.who.Name),
		slog.String("key", q.who.Key), slog.String("result", result), slog.Any("deploys", bounded(q.done.lines)),
		slog.Int64("stored_bytes", q.cost.stored), slog.Int64("lock_wait_ms", q.cost.lockWait.Milliseconds()),
		slog.Int64("ms", took.Milliseconds()),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", cut(err.Error(), maxLoggedError)))
	}
	q.engine.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "deploy", attrs...)
	q.engine.observe(Report{
		Kind: record.KindDeploy, Repository: q.name, Result: result, Deploys: len(q.done.lines),
		Took: took, LockWait: q.cost.lockWait, Stored: q.cost.stored,
	})
}
