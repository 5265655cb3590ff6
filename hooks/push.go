package hooks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/socket"
	"refship/hooks/target"
	"refship/keys"
)

var errClientGone = errors.New("the client is gone, and its push was not yet taken")

// push is what the two hooks of one push share, of a server's or of an installed hook's. Its run stands still between
// pre-receive, which prepares it and writes the intent, and post-receive, which finishes it.
type push struct {
	engine     *Engine
	repository string // name
	gitDir     string
	who        record.Pusher
	key        *keys.Key       // what authenticated; nil: another server let the push in
	client     context.Context // ends when the client is gone; nil: that is not known
	id         string          // names the intent
	process    string          // git receive-pack, of an installed hook
	began      time.Time

	preparing  context.Context // of pre-receive; ends when git has ended
	publishing context.Context // of what comes after; goes on without a client
	cancel     context.CancelCauseFunc
	abort      context.CancelCauseFunc

	updates []git.RefUpdate
	targets []target.Target // of the repository, sorted by name
	options options
	run     *run           // nil: pre-receive has not got so far
	intent  *intent.Intent // nil: nothing is promised
	skipped bool           // a target's ref was stored only, as asked for
}

func (e *Engine) newPush(repository, gitDir string) *push {
	id := make([]byte, 16)
	rand.Read(id)
	p := &push{engine: e, repository: repository, gitDir: gitDir, id: hex.EncodeToString(id), began: time.Now()}
	p.preparing, p.cancel = context.WithCancelCause(context.Background())
	p.publishing, p.abort = context.WithCancelCause(context.Background())
	return p
}

// step marks a failure point.
func (p *push) step(name string) { p.engine.step(p.publishing, name) }

// preReceive prepares the whole push, or refuses it and tells why. It ends with the hook, and with git: both mean
// that git refuses the push.
func (p *push) preReceive(hook context.Context, vars map[string]string, input []byte, out *output) error {
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
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errDryRun) {
		out.line("%v", err)
	} else {
		out.lines(p.engine.explain("refused", err))
	}
	return err
}

// prepare is pre-receive in its order: look at everything, prepare the deliveries, write the intent.
func (p *push) prepare(ctx context.Context, vars map[string]string, input []byte, out *output) error {
	if err := p.read(vars, input); err != nil {
		return err
	}
	quarantine, err := git.QuarantineEnv(p.gitDir, vars)
	if err != nil {
		return err
	}
	if err := p.authorise(); err != nil {
		return err
	}
	if err := p.checkSymbolic(); err != nil {
		return err
	}
	p.run = &run{
		engine: p.engine, gitDir: p.gitDir, quarantine: quarantine, out: out, client: p.client, gone: errClientGone,
		greet: true, announce: true, dryRun: p.options.dryRun, began: time.Now(), cost: new(cost),
		deliveries: p.deliveries(),
	}
	if err := p.run.prepare(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil || len(p.run.open()) == 0 {
		return err
	}
	return p.promise(vars["GIT_PUSH_CERT"])
}

// read reads what is not read yet: ref updates, push options, targets.
func (p *push) read(vars map[string]string, input []byte) (err error) {
	if p.updates == nil {
		if p.updates, err = git.ParseUpdates(input); err != nil {
			return err
		}
	}
	if p.options, err = pushOptions(vars); err != nil {
		return err
	}
	if p.targets == nil {
		if p.targets, err = target.ReadTargets(p.gitDir); err != nil {
			return fmt.Errorf("read targets of repository %s: %w", p.repository, err)
		}
	}
	return nil
}

// targetsOf names the targets that deploy a ref.
func (p *push) targetsOf(ref string) []string {
	var names []string
	for _, t := range p.targets {
		if t.Ref == ref {
			names = append(names, t.Name)
		}
	}
	return names
}

// deliveries pairs ref updates with targets.
func (p *push) deliveries() []*delivery {
	if p.options.skip {
		return nil
	}
	var all []*delivery
	for _, u := range p.updates {
		for _, t := range p.targets {
			if t.Ref == u.Ref {
				job := p.engine.NewJob(record.KindPush, p.repository, t, u.New, p.who)
				job.Force, job.Reason = p.options.force, p.options.reason
				all = append(all, p.engine.newDelivery(t, job))
			}
		}
	}
	sortDeliveries(all)
	return all
}

// updateOf is the ref update of a delivery.
func (p *push) updateOf(d *delivery) git.RefUpdate {
	for _, u := range p.updates {
		if u.Ref == d.target.Ref {
			return u
		}
	}
	return git.RefUpdate{}
}

// promise writes the intent: from here on each delivery is published if its ref moves, whatever process dies.
func (p *push) promise(certificate string) error {
	if certificate != "" {
		oid, err := git.ParseOID(certificate)
		if err != nil {
			return fmt.Errorf("read push certificate: %w", err)
		}
		if oid.IsZero() {
			certificate = ""
		}
	}
	in := &intent.Intent{
		Format: intent.Format, Push: p.id, Time: time.Now().UTC(), Process: p.process, Repository: p.repository,
		Pusher: p.who, Options: p.options.all, Certificate: certificate,
	}
	for _, d := range p.run.open() {
		u := p.updateOf(d)
		entry := intent.Entry{
			Target: d.target, Old: u.Old, New: u.New, Reason: p.options.reason,
			Forced: d.forcedHead != 0, Over: d.forcedHead,
		}
		if head := d.verdict.Head; head != nil {
			entry.Head = head.ID
		}
		in.Deploys = append(in.Deploys, entry)
	}
	if err := in.Write(p.gitDir); err != nil {
		_ = os.Remove(intent.Path(p.gitDir, p.id)) // it may be there, unsynced; the push is refused
		return err
	}
	p.intent = in
	p.step("intent-written")
	return nil
}

// finish publishes a delivery whose ref has moved, tells of it, and drops it from the intent. What fails is told with
// the way to deploy it later.
func (p *push) finish(d *delivery) error {
	err := p.run.finish(p.publishing, d)
	switch {
	case errors.Is(err, errNotAttempted):
		p.run.out.line("pushed, not deployed: %s was not attempted after the failure above", d.target.Namespace)
		return err
	case err != nil:
		p.run.out.lines(p.undeployed(d.target, err))
		return err
	}
	p.step("published")
	if p.drop(d) {
		p.step("intent-removed")
	}
	return nil
}

// undeployed says that a ref is ahead of its chain, and what to do.
func (p *push) undeployed(t target.Target, err error) []string {
	return append(p.engine.explain("pushed, not deployed", err),
		"hint: the ref has moved; deploy it with: "+p.engine.redeploy(p.repository, t))
}

// abandon drops a delivery whose ref did not move.
func (p *push) abandon(d *delivery) {
	d.finished = true
	p.run.release(p.publishing, d)
	p.drop(d)
}

// drop takes a delivery out of the intent. If that fails, reconcile finds the deploy published, or the ref elsewhere.
func (p *push) drop(d *delivery) bool {
	err := p.intent.Drop(p.gitDir, d.target.Name)
	if err != nil {
		p.engine.cfg.Log.ErrorContext(p.publishing, "drop intent", "push", p.id, "error", err)
	}
	return err == nil
}
