package hooks

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"refship/deploy/text"
	"refship/hooks/check"
	"refship/hooks/report"
)

// leftError ends what the client does not wait for any more: nothing is wrong with the server, etcd or the repository.
type leftError struct{ error }

func (e *leftError) Unwrap() error { return e.error }

// withClient gives a context that ends with the run's client, too: with the client's cause if it has one of its own,
// else with r.gone.
func (r *run) withClient(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if r.client == nil {
		return ctx, func() { cancel(nil) }
	}
	left := func() {
		why := r.gone
		if cause := context.Cause(r.client); !errors.Is(cause, context.Canceled) {
			why = cause
		}
		cancel(&leftError{why})
	}
	if r.client.Err() != nil {
		left() // at once: AfterFunc would take its time
		return ctx, func() {}
	}
	stop := context.AfterFunc(r.client, left)
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// unchecked are the deliveries whose check did not pass yet.
func (r *run) unchecked() []*delivery {
	return slices.DeleteFunc(r.open(), func(d *delivery) bool { return d.checked })
}

// check runs the targets' own checks, one after the other, so that all that is wrong is told. What could not be
// deployed anyway is refused before, so that a check never runs in vain. A delivery that another push made
// meanwhile is idle from here on: it was not checked, so this run never deploys it. The checks end with the client:
// up to here nothing of the deliveries was written.
func (r *run) check(ctx context.Context) error {
	if len(r.unchecked()) == 0 {
		return nil
	}
	ctx, stop := r.withClient(ctx)
	defer stop()
	if err := r.inTurn(ctx, r.readUnchecked); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return forEach(r.unchecked(), func(d *delivery) error { return r.runCheck(ctx, d) })
}

// readUnchecked prepares the deliveries with a check without a lock. What was read is dropped: the content is stored
// under the lock.
func (r *run) readUnchecked(ctx context.Context) error {
	err := r.readAll(ctx, r.unchecked)
	for _, d := range r.deliveries {
		if d.prepared != nil {
			d.prepared.Drop()
			d.frontend, d.prepared, d.read = d.prepared.Frontend, nil, nil
		}
	}
	return err
}

// runCheck runs one target's check, and logs how it went.
func (r *run) runCheck(ctx context.Context, d *delivery) error {
	start := time.Now()
	err := r.engine.checks.Run(ctx, &check.Check{
		Target: d.target.Name, Command: d.target.Check, About: d.aboutCheck(),
		WriteTree: func(ctx context.Context, dir string, limit int64, progress func(text.Progress)) error {
			return d.verdict.WriteTree(ctx, d.job.Source(), dir, limit, progress)
		},
		Tell: func(line string) { r.tell(d, line) },
		During: func(step string, fn func(func(text.Progress)) error) error {
			return r.out.During(d.label, step, fn)
		},
	})
	attrs := []slog.Attr{
		slog.String("repository", d.job.Repository), slog.String("target", d.target.Name),
		slog.String("user", d.job.Pusher.Name),
		slog.String("commit", d.job.Commit.String()), slog.Bool("passed", err == nil),
		slog.Int64("ms", time.Since(start).Milliseconds()),
	}
	if err != nil {
		attrs = append(attrs, report.Error(err))
	}
	r.engine.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "check", attrs...)
	d.checked = err == nil
	return err
}

// aboutCheck says to a check what it checks.
func (d *delivery) aboutCheck() check.About {
	about := check.About{
		Repository: d.job.Repository, Ref: d.target.Ref, Commit: d.job.Commit.String(),
		Pusher: d.job.Pusher.Name, Frontend: string(d.frontend),
	}
	if head := d.verdict.Head; head != nil {
		about.Previous = string(head.Hash)
	}
	return about
}
