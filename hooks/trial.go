package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"refship/deploy"
	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

const (
	// maxChecks is how many checks run at a time, all pushes together.
	maxChecks = 4
	// defaultCheckLimit is how long one may take where the configuration says nothing.
	defaultCheckLimit = 5 * time.Minute
	// stepWriting is what a push does that writes the tree for its check.
	stepWriting = "writing the tree for the check"
	// stepCheckQueue is what a push does that waits for others' checks.
	stepCheckQueue = "waiting for other checks to end"
)

var (
	errClientGone = errors.New("the client is gone, and its push was not yet taken")
	errAskerGone  = errors.New("the client is gone, and the deploy was not yet begun")
)

// leftError breaks off what nobody waits for any more: nothing is wrong with the server, etcd or the repository.
type leftError struct{ error }

func (e *leftError) Unwrap() error { return e.error }

// whileThere gives a context that ends with client, too: with client's cause if it has one of its own, else with gone. With
// a nil client it is ctx's child and no more.
func whileThere(ctx, client context.Context, gone error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if client == nil {
		return ctx, func() { cancel(nil) }
	}
	left := func() {
		if cause := context.Cause(client); !errors.Is(cause, context.Canceled) {
			gone = cause
		}
		cancel(&leftError{gone})
	}
	if client.Err() != nil {
		left() // at once: AfterFunc would take its time
		return ctx, func() {}
	}
	stop := context.AfterFunc(client, left)
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// trial is one run of a target's check over the tree that the target would deploy.
type trial struct {
	server  *Deployer
	target  target.Target
	job     *deploy.Job
	verdict *deploy.Verdict // with something to deploy
	as      record.Frontend // of the deploy, where the target's says auto
	say     func(string)
	during  func(step string, fn func(progress func(text.Progress)) error) error
}

// tryOut runs the checks of those targets that have one and something to deploy. What could not be deployed anyway is
// refused before, so that nobody waits for a check in vain.
func (x *Session) tryOut(ctx context.Context, out *speaker) error {
	var trials []*trial
	for _, p := range x.plans {
		if p.target.Check == "" {
			continue
		}
		trials = append(trials, &trial{
			server: x.server, target: p.target, job: p.job,
			say: func(line string) { out.line("%s%s", p.label, line) },
			during: func(step string, fn func(func(text.Progress)) error) error {
				return out.during(p.label, step, fn)
			},
		})
	}
	if len(trials) == 0 {
		return nil
	}
	// Later on a push goes on without its client; up to here nobody has got anything of it.
	ctx, stop := whileThere(ctx, x.push.Client, errClientGone)
	defer stop()
	if err := x.rehearse(ctx, trials, out); err != nil {
		return err
	}
	x.overtaken(trials, out)
	var refused refusals
	for _, t := range trials {
		if t.verdict.Idle() {
			continue
		}
		err := t.run(ctx)
		if err != nil && !isRefusal(err) {
			return err
		}
		refused.add(err)
	}
	return refused.err()
}

// rehearse prepares the deploys without a lock, and throws away what was read: it is the locks' holder who stores.
func (x *Session) rehearse(ctx context.Context, trials []*trial, out *speaker) error {
	give, err := x.turn(ctx, out)
	if err != nil {
		return err
	}
	defer give()
	var refused refusals
	var all []*deploy.Prepared
	for _, t := range trials {
		err := t.during("reading", func(progress func(text.Progress)) error {
			p, err := x.server.cfg.Chain(t.target.Namespace).Prepare(ctx, nil, t.job, progress)
			if err == nil {
				all = append(all, p)
				t.verdict, t.as = p.Verdict, p.Frontend
			}
			return err
		})
		if err != nil && !isRefusal(err) {
			return err
		}
		refused.add(err)
	}
	if err := refused.err(); err != nil {
		return err
	}
	return x.server.cfg.Room(ctx, all)
}

// overtaken takes the plans out whose deploy somebody else made meanwhile. They were not checked: whatever the chain does
// from here on, this push does not deploy them.
func (x *Session) overtaken(trials []*trial, out *speaker) {
	for _, p := range x.plans {
		i := slices.IndexFunc(trials, func(t *trial) bool { return t.job == p.job })
		if i >= 0 && trials[i].verdict.Idle() {
			p.verdict = trials[i].verdict
			x.greet(p, out)
		}
	}
	x.leaveOut()
}

// tryOut runs the target's check, unless the deploy has passed it already. It ends with the client: up to here nothing of the
// deploy was written. An idle verdict says that nothing was checked, as there is nothing to do any more.
func (w *work) tryOut(ctx context.Context, v *deploy.Verdict) (*deploy.Verdict, error) {
	if w.unchecked == nil || w.unchecked.Check == "" {
		return v, nil
	}
	ctx, stop := whileThere(ctx, w.client, errAskerGone)
	defer stop()
	p, err := w.load(ctx, nil)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case p.Verdict.Idle():
		return p.Verdict, nil
	}
	t := &trial{
		server: w.server, target: *w.unchecked, job: w.job, verdict: p.Verdict, as: p.Frontend, say: w.say,
		during: func(_ string, fn func(func(text.Progress)) error) error { return fn(w.progress) },
	}
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	w.unchecked = nil
	return v, nil
}

// run runs the check. A check that does not pass is a fault.Refused.
func (t *trial) run(ctx context.Context) error {
	err := t.during(stepCheckQueue, func(func(text.Progress)) error { return t.server.checks.Acquire(ctx, 1) })
	if err != nil {
		return context.Cause(ctx)
	}
	defer t.server.checks.Release(1)
	start := time.Now()
	err = t.inScratch(ctx)
	took := time.Since(start)
	attrs := []slog.Attr{
		slog.String("repository", t.job.Repository), slog.String("target", t.target.Name), slog.String("user", t.job.Pusher.Name),
		slog.String("commit", t.job.Commit.String()), slog.Bool("passed", err == nil), slog.Int64("ms", took.Milliseconds()),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", cut(err.Error(), maxLoggedError)))
	}
	t.server.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "check", attrs...)
	if err == nil {
		t.say("the check passed in " + text.Took(took))
	}
	return err
}

func (t *trial) inScratch(ctx context.Context) error {
	d, err := t.server.newScratch()
	if err != nil {
		return err
	}
	defer func() {
		if err := d.remove(); err != nil {
			t.server.cfg.Log.WarnContext(ctx, "remove scratch directory", "error", err) // the next start tries again
		}
	}()
	room, err := d.room()
	if err != nil {
		return err
	}
	err = t.during(stepWriting, func(progress func(text.Progress)) error {
		return t.verdict.WriteTree(ctx, t.job.Source(), d.tree(), room, progress)
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !isRefusal(err):
		return fmt.Errorf("write the tree for the check: %w", disk.WithoutDir(err))
	case err != nil:
		return err
	}
	t.say("running the check of target " + t.target.Name)
	c, err := startCheck(t.target.Check, d.tree(), t.env(d), homesBelow(d.dir))
	if err != nil {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("the check of target %s cannot be started: %v", t.target.Name, disk.WithoutDir(err)),
			Remedy: "who runs the server has to look at it",
		}
	}
	return t.judge(ctx, c.watch(ctx, t.server.cfg.CheckLimit, t.server.checkGrace, t.server.every, t.say))
}

// homesBelow is how the variable begins by which processes of checks are found: HOME in a directory below this one.
func homesBelow(dir string) string { return "HOME=" + dir + string(filepath.Separator) }

// env is the command's whole environment: nothing of the server's own but PATH.
func (t *trial) env(d scratch) []string {
	previous := ""
	if head := t.verdict.Head; head != nil {
		previous = string(head.Hash)
	}
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.home(), "TMPDIR=" + d.tmp(), "LANG=C.UTF-8",
		"REFSHIP_REPOSITORY=" + t.job.Repository, "REFSHIP_TARGET=" + t.target.Name, "REFSHIP_REF=" + t.target.Ref,
		"REFSHIP_COMMIT=" + t.job.Commit.String(), "REFSHIP_PREVIOUS=" + previous,
		"REFSHIP_PUSHER=" + t.job.Pusher.Name, "REFSHIP_FRONTEND=" + string(t.as),
	}
}

// judge says what became of the command.
func (t *trial) judge(ctx context.Context, err error) error {
	var exit *exec.ExitError
	refuse := func(remedy, format string, args ...any) error {
		return &fault.Error{Kind: fault.Refused, What: "the check of target " + t.target.Name + " " + fmt.Sprintf(format, args...), Remedy: remedy}
	}
	const correct = "it says above what is wrong: correct it, commit, push again"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooLong):
		return refuse("make it faster, or ask who runs the server to raise its limit, --check-limit", "took longer than %s", t.server.cfg.CheckLimit)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &exit):
		return fmt.Errorf("run the check of target %s: %w", t.target.Name, err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return refuse(correct, "was ended by a signal: %s", status.Signal())
	}
	return refuse(correct, "failed with exit status %d", exit.ExitCode())
}
