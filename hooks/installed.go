package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/output"
	"refship/hooks/permit"
	"refship/hooks/socket"
	"refship/hooks/target"
	"refship/hooks/words"
)

// ReasonNotPrepared: a ref has moved that no pre-receive of refship has prepared.
const ReasonNotPrepared fault.Reason = "push-not-prepared"

// HookCall is one run of an installed hook: a process of its own, which knows only what git handed over and what the
// repository's git config says. Both are read once.
type HookCall struct {
	Config  target.Config
	GitDir  string // of the repository: what linked work trees have in common
	Offline bool   // etcd is not asked: no target's ref is updated, and no intent is left

	push  permit.Push       // without options, which may be wrong
	vars  map[string]string // git's own: the quarantine, GIT_PUSH_*
	input []byte            // standard input
	out   io.Writer         // what the pusher reads
}

// ReadHookCall reads the repository's git config and git's ref updates. vars are the variables that git sets for hooks,
// input is standard input, out is what the pusher reads.
func ReadHookCall(
	gitDir string, who record.Pusher, vars map[string]string, input []byte, out io.Writer,
) (*HookCall, error) {
	config, err := target.Read(gitDir)
	if err != nil {
		return nil, err
	}
	c := &HookCall{Config: config, GitDir: gitDir, vars: vars, input: input, out: out}
	c.push = permit.Push{
		Repository: config.Settings.Repository, GitDir: gitDir, Who: who, Targets: config.Targets,
	}
	if !c.Concerns() {
		return c, nil
	}
	if c.push.Updates, err = git.ParseUpdates(input); err != nil {
		return nil, err
	}
	return c, nil
}

// Concerns tells whether the repository has settings of refship's at all: hooks can be shared with repositories that
// have none.
func (c *HookCall) Concerns() bool { return len(c.Config.Targets) > 0 || !c.Config.Settings.IsZero() }

// Targets are those whose ref is updated.
func (c *HookCall) Targets() []target.Target {
	return slices.DeleteFunc(slices.Clone(c.Config.Targets), func(t target.Target) bool {
		return !slices.ContainsFunc(c.push.Updates, func(u git.RefUpdate) bool { return u.Ref == t.Ref })
	})
}

// HasLeft tells whether an intent is left in the repository: a push was broken off.
func (c *HookCall) HasLeft() (bool, error) {
	left, err := intent.List(c.GitDir)
	return len(left) > 0, err
}

func (c *HookCall) output(e *Engine, gone func(error)) *output.Output {
	return &output.Output{Every: e.every, Gone: gone, Send: func(line string) error {
		if _, err := io.WriteString(c.out, "refship: "+line+"\n"); err != nil {
			return fmt.Errorf("tell git: %w", err)
		}
		return nil
	}}
}

// PreReceive is an installed pre-receive: it deploys what broken-off pushes left, prepares this one or refuses it, and
// gives the hook's exit status. Unlike a server it gives its locks back before git moves the refs: nothing tells it
// whether a later hook refuses the push, and a lock that is not given back would stop all others for a minute. So
// post-receive prepares again, which finds in etcd all that was stored here.
func (e *Engine) PreReceive(ctx context.Context, c *HookCall) byte {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := c.output(e, func(error) { cancel(socket.ErrGone) })
	p := e.newPush(c.push)
	p.process = intent.ReceivePack()
	e.begin(p.id, c.GitDir)
	defer e.end(p.id)
	defer p.abort(nil)
	defer p.cancel(nil)
	if o, err := permit.ReadOptions(c.vars); err == nil && !o.DryRun { // a dry run writes nothing
		e.settleLeft(ctx, c, out)
	}
	if err := p.preReceive(ctx, c.vars, c.input, out); err != nil {
		return 1
	}
	p.run.releaseAll(ctx)
	return 0
}

// settleLeft deploys what broken-off pushes left, as far as possible: a push does not fail by what another one left.
func (e *Engine) settleLeft(ctx context.Context, c *HookCall, out *output.Output) {
	if c.Offline {
		return
	}
	r := e.reconciler(c.push.Repository, c.GitDir, out)
	r.publishLeft(ctx)
	if r.err != nil {
		out.Lines(words.Explain(e.cfg.Remedy, "left as it is", r.err))
	}
}

// PostReceive is an installed post-receive: it publishes the entries of the intent whose refs have moved,
// and gives the hook's exit status, which git ignores. It goes on when its reader is gone.
func (e *Engine) PostReceive(ctx context.Context, c *HookCall) byte {
	out := c.output(e, nil)
	e.step(ctx, "post-receive-start")
	e.tellStored(ctx, &c.push, c.push.Updates, out)
	if err := e.publishMoved(ctx, c, out); err != nil {
		out.Lines(words.Explain(e.cfg.Remedy, words.Undeployed, err))
		return 1
	}
	return 0
}

// publishMoved publishes for each target whose ref has moved.
func (e *Engine) publishMoved(ctx context.Context, c *HookCall, out *output.Output) error {
	options, err := permit.ReadOptions(c.vars)
	if err != nil {
		return err
	}
	var all []*moved
	for _, t := range c.Config.Targets {
		i := slices.IndexFunc(c.push.Updates, func(u git.RefUpdate) bool { return u.Ref == t.Ref && !u.Deletes() })
		if i >= 0 {
			all = append(all, &moved{engine: e, call: c, target: t, update: c.push.Updates[i], out: out})
		}
	}
	var failed error
	var done []*delivery
	for _, m := range all {
		if len(all) > 1 {
			m.label = labelOf(m.target)
		}
		failed = errors.Join(failed, m.publish(ctx, options.Skip))
		if m.delivery != nil {
			done = append(done, m.delivery)
		}
	}
	if failed == nil {
		e.settleLeft(ctx, c, out)
	}
	if err := e.await(ctx, out, options.Wait, done...); err != nil {
		e.tellBehind(out, err)
	}
	return failed
}

// moved is one target's ref that git has moved.
type moved struct {
	engine *Engine
	call   *HookCall
	target target.Target
	update git.RefUpdate
	out    *output.Output
	label  string // starts each line about it

	delivery *delivery // nil: it did not come to that
}

// publish publishes the entry of the ref.
func (m *moved) publish(ctx context.Context, skip bool) error {
	t, u, e := m.target, m.update, m.engine
	all, err := intent.Find(m.call.GitDir, t, u)
	if err != nil {
		return err
	}
	if skip {
		m.out.Line("%s", words.Skipped([]string{u.Ref}, m.redeploy()))
		return m.drop(all)
	}
	if len(all) == 0 {
		return m.checkWithoutIntent(ctx)
	}
	now, err := git.ReadRef(ctx, m.call.GitDir, t.Ref)
	if err != nil {
		return err
	}
	if now != u.New {
		m.out.Line("%s has moved on to %s since: %s is not deployed by itself", u.Ref, short(now), short(u.New))
		return m.drop(all)
	}
	d := e.entryDelivery(m.call.push.Repository, all[0].Intent, all[0].Entry)
	d.label, m.delivery = m.label, d
	one := e.newRun(m.call.GitDir, m.out, d)
	one.told = true
	if err := one.deliver(ctx); err != nil {
		head, problem := m.deployed(ctx)
		if isRefusal(err) && problem == nil && head != nil { // another process has published it, and the chain went on
			m.out.Line("%s", words.Already(t.Namespace, record.CommitHash(all[0].Entry.Deploys()), head))
			return m.drop(all)
		}
		return m.explainFailed(d, err)
	}
	e.step(ctx, "published")
	if err := m.drop(all); err != nil {
		return err
	}
	e.step(ctx, "intent-removed")
	return nil
}

func (m *moved) redeploy() string {
	return m.engine.commands.Redeploy(m.call.push.Repository, m.target)
}

func short(oid git.OID) string { return record.CommitHash(oid).Short() }

// drop takes entries that are done out of their intents.
func (m *moved) drop(all []intent.Left) error {
	for _, left := range all {
		if err := left.Intent.DropLeft(m.call.GitDir, m.target.Name); err != nil {
			return err
		}
	}
	return nil
}

// explainFailed words what kept an entry from being published.
func (m *moved) explainFailed(d *delivery, err error) error {
	what := err.Error()
	if !d.finished { // else it says so
		what = fmt.Sprintf("publish to %s: %s", m.target.Namespace, what)
	}
	remedy := words.Moved(m.redeploy())
	first := m.engine.cfg.Remedy(err)
	switch {
	case isFinal(err):
		remedy = first
	case first != "":
		remedy = first + "; " + remedy
	}
	return &fault.Error{What: what, Remedy: remedy, Cause: err}
}

// checkWithoutIntent is for a ref that has moved without an intent: pre-receive found it deployed already and said so,
// another process has published it meanwhile, or pre-receive never ran, which is the error.
func (m *moved) checkWithoutIntent(ctx context.Context) error {
	head, err := m.deployed(ctx)
	if err != nil || head != nil {
		return err
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("no pre-receive of refship has prepared %s at %s", m.update.Ref, short(m.update.New)),
		Remedy: "the git server's operator checks the hooks, and deploys it with: " + m.redeploy(),
		Reason: ReasonNotPrepared, About: []string{m.redeploy()},
	}
}

// deployed is the chain's head if it is or contains the ref's commit; else nil.
func (m *moved) deployed(ctx context.Context) (*record.Deploy, error) {
	repo, err := git.OpenRepository(ctx, m.call.GitDir, nil)
	if err != nil {
		return nil, err
	}
	defer repo.Close()
	job := m.engine.NewJob(record.KindPush, m.call.push.Repository, m.target, m.update.New, m.call.push.Who)
	job.Repo = repo
	if err := job.Peel(ctx); err != nil {
		return nil, err
	}
	head, err := m.engine.cfg.Store.Chain(m.target.Namespace).Head(ctx)
	if err != nil {
		return nil, err
	}
	relation, _, err := job.Relation(ctx, head)
	if err != nil || relation != deploy.RelationEqual && relation != deploy.RelationBehind {
		return nil, err
	}
	return head, nil
}
