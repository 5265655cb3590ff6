package hooks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/output"
	"refship/hooks/permit"
	"refship/hooks/report"
	"refship/hooks/signed"
	"refship/hooks/socket"
	"refship/hooks/target"
	"refship/hooks/words"
	"refship/keys"
)

var errClientGone = errors.New("the client is gone, and its push was not yet taken")

// push is what the two hooks of one push share, of a server's or of an installed hook's. Its run stands still between
// pre-receive, which prepares it and writes the intent, and post-receive, which finishes it.
type push struct {
	permit.Push
	engine   *Engine
	client   context.Context // ends when the client is gone; nil: that is not known
	id       string          // names the intent
	stopping context.Context // ends when the server begins to stop; nil: that is not known
	process  string          // git receive-pack, of an installed hook
	began    time.Time
	awaited  time.Duration // nodes
	nice     int           // see Push

	preparing  context.Context // of pre-receive; ends when git has ended
	publishing context.Context // of what comes after; goes on without a client
	cancel     context.CancelCauseFunc
	abort      context.CancelCauseFunc

	leave       func()              // ends that nobody else is alone; nil: it has not come so far
	certificate *signed.Certificate // nil: the push is not signed

	run     *run           // nil: pre-receive has not got so far
	intent  *intent.Intent // nil: none is written
	skipped bool           // a target's ref was stored only, as asked for
}

func (e *Engine) newPush(asked permit.Push) *push {
	id := make([]byte, 16)
	rand.Read(id)
	p := &push{Push: asked, engine: e, id: hex.EncodeToString(id), began: time.Now()}
	p.preparing, p.cancel = context.WithCancelCause(context.Background())
	p.publishing, p.abort = context.WithCancelCause(context.Background())
	return p
}

// step marks a failure point.
func (p *push) step(name string) { p.engine.step(p.publishing, name) }

// preReceive prepares the whole push, or refuses it and tells why. It ends with the hook, and with git: both mean
// that git refuses the push.
func (p *push) preReceive(hook context.Context, vars map[string]string, input []byte, out *output.Output) error {
	ctx, cancel := context.WithCancelCause(hook)
	defer cancel(nil)
	defer context.AfterFunc(p.preparing, func() { cancel(socket.ErrGone) })()
	p.step("pre-receive-start")
	err := p.prepare(ctx, vars, input, out)
	if err == nil {
		return nil
	}
	if p.run != nil {
		p.run.releaseAll(p.publishing)
		p.run.phase(report.Failed, p.run.open()...)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errDryRun) {
		out.Line("%v", err)
		if hint := p.honestDryRun(); hint != "" {
			out.Line("%s", hint)
		}
	} else {
		out.Lines(words.Explain(p.engine.cfg.Remedy, "refused", err))
	}
	return err
}

// prepare is pre-receive in its order: look at everything, prepare the deliveries, write the intent.
func (p *push) prepare(ctx context.Context, vars map[string]string, input []byte, out *output.Output) error {
	if err := p.Read(vars, input); err != nil {
		return err
	}
	quarantine, err := git.QuarantineEnv(p.GitDir, vars)
	if err != nil {
		return err
	}
	if err := p.check(ctx); err != nil {
		return err
	}
	if err := p.readCertificate(ctx, vars, quarantine, out); err != nil {
		return err
	}
	if p.leave, err = p.engine.enter(ctx, out); err != nil {
		return err
	}
	p.run = p.engine.newRun(p.GitDir, out, p.deliveries()...)
	p.run.quarantine, p.run.client, p.run.gone, p.run.nice = quarantine, p.client, errClientGone, p.nice
	p.run.greet, p.run.announce, p.run.dryRun = true, true, p.Options.DryRun
	if err := p.run.prepare(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := p.keepReplaced(ctx, quarantine); err != nil || len(p.run.open()) == 0 {
		return err
	}
	return p.writeIntent()
}

// check asks whether the user may do what is pushed, in turns.
func (p *push) check(ctx context.Context) error {
	select {
	case p.engine.looks <- struct{}{}:
		defer func() { <-p.engine.looks }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return p.Check(ctx)
}

// deliveries pairs ref updates with targets.
func (p *push) deliveries() []*delivery {
	if p.Options.Skip {
		return nil
	}
	var all []*delivery
	for _, u := range p.Updates {
		for _, t := range p.TargetsOf(u.Ref) {
			job := p.engine.NewJob(record.KindPush, p.Repository, t, u.New, p.Who)
			job.Force, job.Reason, job.Again = p.Options.Force, p.Options.Reason, p.Options.Again
			job.Was, job.NoForce = u.Old, p.Key != nil && !p.Key.May(keys.Force, p.Repository)
			d := p.engine.newDelivery(t, job)
			d.update, d.certificate = u, p.certificate
			d.job.Certificate = p.kept()
			all = append(all, d)
		}
	}
	sortDeliveries(all)
	return all
}

// keepReplaced keeps what a server's repository deploys now and the push leads away from: a forced push, and one that
// is only stored. Another git server's repositories are its own business. A push that is refused after all leaves a
// ref that does no harm.
func (p *push) keepReplaced(ctx context.Context, quarantine []string) error {
	if !p.engine.alone {
		return nil
	}
	for _, u := range p.Updates {
		if len(p.TargetsOf(u.Ref)) == 0 || u.Old.IsZero() || p.isKnownToContain(u) {
			continue
		}
		contained, err := git.IsAncestor(ctx, p.GitDir, quarantine, u.Old, u.New)
		if err != nil {
			return err
		}
		if contained {
			continue
		}
		if err := git.KeepReplaced(ctx, p.GitDir, u.Old); err != nil {
			return err
		}
		p.step("replaced-kept")
	}
	return nil
}

// isKnownToContain tells whether a verdict has found that the update's new commit contains the old one, which spares
// asking git again.
func (p *push) isKnownToContain(u git.RefUpdate) bool {
	for _, d := range p.run.deliveries {
		if v := d.verdict; d.target.Ref == u.Ref && v != nil && v.Forced == nil && v.Head != nil &&
			string(v.Head.Hash) == u.Old.String() {
			return true
		}
	}
	return false
}

// writeIntent writes the intent: from here on each delivery is published if its ref moves, whatever process dies.
func (p *push) writeIntent() error {
	in := &intent.Intent{
		Format: intent.Format, Push: p.id, Time: time.Now().UTC(), Process: p.process, Repository: p.Repository,
		Pusher: p.Who, Options: p.Options.All,
	}
	if kept := p.kept(); !kept.IsZero() {
		in.Certificate = kept.String()
	}
	for _, d := range p.run.open() {
		u := d.update
		entry := intent.Entry{
			Target: d.target, Old: u.Old, New: u.New, Reason: p.Options.Reason,
			Forced: d.forcedHead != 0, ForcedHead: d.forcedHead, Again: d.verdict.Again,
		}
		if d.job.Commit != u.New {
			entry.Commit = d.job.Commit
		}
		if head := d.verdict.Head; head != nil {
			entry.Head = head.ID
		}
		in.Deploys = append(in.Deploys, entry)
	}
	if err := in.Write(p.GitDir); err != nil {
		_ = os.Remove(intent.Path(p.GitDir, p.id)) // it may be there, unsynced; the push is refused
		return err
	}
	p.intent = in
	p.step("intent-written")
	return nil
}

// finish publishes a delivery whose ref has moved, tells of it, and drops it from the intent. What fails is told with
// the way to deploy it later.
func (p *push) finish(d *delivery) error {
	d.job.Moved = true
	err := p.run.finish(p.publishing, d)
	switch {
	case errors.Is(err, errNotAttempted):
		p.run.out.Line(words.Undeployed+": %s was not attempted after the failure above", d.target.Namespace)
		return err
	case err != nil:
		p.run.out.Lines(p.engine.undeployed(p.Repository, d.target, err))
		return err
	}
	p.step("published")
	if p.drop(d) {
		p.step("intent-removed")
	}
	return nil
}

// undeployed says that a ref is ahead of its chain, and what to do.
func (e *Engine) undeployed(repository string, t target.Target, err error) []string {
	lines := words.Explain(e.cfg.Remedy, words.Undeployed, err)
	if isFinal(err) {
		return lines
	}
	return append(lines, "hint: "+words.Moved(e.commands.Redeploy(repository, t)))
}

// isFinal tells whether a deploy that failed would fail again as it is: its chain has gone on without it. The error's
// own remedy is the only one then.
func isFinal(err error) bool {
	var conflict *deploy.ConflictError
	return errors.As(err, &conflict)
}

// abandon drops a delivery whose ref did not move.
func (p *push) abandon(d *delivery) {
	d.finished = true
	p.run.phase(report.Failed, d)
	p.run.release(p.publishing, d)
	p.drop(d)
}

// drop takes a delivery out of the intent. If that fails, reconcile finds the deploy published, or the ref elsewhere.
func (p *push) drop(d *delivery) bool {
	err := p.intent.Drop(p.GitDir, d.target.Name)
	if err != nil {
		p.engine.cfg.Log.ErrorContext(p.publishing, "drop intent", "push", p.id, "error", err)
	}
	return err == nil
}
