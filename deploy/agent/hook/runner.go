package hook

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Runner runs one hook for the newest release that it was sent, until that has succeeded.
type Runner struct {
	name    string // for the log
	run     func(context.Context, *Release) error
	backoff time.Duration // between two tries
	done    func(*Release, error)
	log     *slog.Logger
	newest  chan *Release // holds the one to run next
}

// NewRunner makes a Runner of a Command's or Webhook's Run. done is told of the end of each try that was not broken off.
func NewRunner(
	name string, run func(context.Context, *Release) error, backoff time.Duration, done func(*Release, error),
	log *slog.Logger,
) *Runner {
	return &Runner{name: name, run: run, backoff: backoff, done: done, log: log, newest: make(chan *Release, 1)}
}

// Send has the hook run for a release, in place of an earlier one that it has not succeeded for. One goroutine sends.
func (r *Runner) Send(release *Release) {
	select {
	case <-r.newest:
	default:
	}
	r.newest <- release
}

// Once runs the hook now, once. The error names it, and the deploy.
func (r *Runner) Once(ctx context.Context, release *Release) error {
	err := r.run(ctx, release)
	if err == nil || ctx.Err() == nil {
		r.done(release, err)
	}
	if err != nil {
		r.log.ErrorContext(ctx, r.name+" failed", "id", release.ID, "error", err)
		return fmt.Errorf("%s of deploy %d failed: %w", r.name, release.ID, err)
	}
	r.log.InfoContext(ctx, r.name+" succeeded", "id", release.ID)
	return nil
}

// Run runs the hook for what it is sent, until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	var release *Release
	for {
		var again <-chan time.Time
		if release != nil {
			again = time.After(r.backoff)
		}
		select {
		case <-ctx.Done():
			return
		case release = <-r.newest:
		case <-again:
		}
		if err := r.Once(ctx, release); err == nil || ctx.Err() != nil {
			release = nil
		}
	}
}
