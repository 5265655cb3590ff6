package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
	"refship/deploy/git"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// preReceive prepares the whole push, or refuses it. It gives the hook's exit status.
func (x *Session) preReceive(hook context.Context, req *request, out *speaker) byte {
	// Both a hook that dies and a receive-pack that has ended break this off: git will refuse anyway.
	ctx, cancel := context.WithCancelCause(hook)
	defer cancel(nil)
	defer context.AfterFunc(x.preparing, func() { cancel(errHookGone) })()
	x.started = time.Now()
	x.step("pre-receive-start")

	err := x.prepare(ctx, req, out)
	if err == nil {
		x.mu.Lock()
		x.accepted = true
		x.mu.Unlock()
		return 0
	}
	for _, p := range x.plans {
		x.release(p)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	x.outcome.Refused = err
	if errors.Is(err, errDryRun) {
		out.line("%v", err)
		return 1
	}
	for _, line := range x.server.explain("refused", err) {
		out.line("%s", line)
	}
	return 1
}

// prepare is pre-receive in its order: check everything, lock, plan, upload, write the intent.
func (x *Session) prepare(ctx context.Context, req *request, out *speaker) error {
	updates, err := parseUpdates(req.input)
	if err != nil {
		return err
	}
	x.outcome.Updates = updates
	if x.options, err = pushOptions(req.vars); err != nil {
		return err
	}
	env, err := quarantineEnv(x.push.Dir, req.vars)
	if err != nil {
		return err
	}
	x.targets, err = target.ReadTargets(x.push.Dir)
	if err != nil {
		return fmt.Errorf("read targets of repository %s: %w", x.push.Repository, err)
	}
	if err := x.authorise(); err != nil {
		return err
	}
	if err := x.checkSymbolic(); err != nil {
		return err
	}
	x.plan()
	if len(x.plans) == 0 {
		x.step("checked")
		if x.options.dryRun {
			return x.dryRun(ctx, out)
		}
		return nil
	}
	repo, err := deploy.OpenRepository(ctx, x.push.Dir, env)
	if err != nil {
		return fmt.Errorf("read repository: %w", err)
	}
	defer repo.Close()
	for _, p := range x.plans {
		p.job.Repo = repo
	}
	if err := x.check(ctx, out); err != nil {
		return err
	}
	if err := x.tryOut(ctx, out); err != nil {
		return err
	}
	x.step("checked")
	if x.options.dryRun {
		return x.dryRun(ctx, out)
	}
	if err := x.upload(ctx, out); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil || len(x.plans) == 0 {
		return err
	}
	return x.promise(req.vars["GIT_PUSH_CERT"])
}

func (x *Session) targetsOf(ref string) []string {
	var names []string
	for _, t := range x.targets {
		if t.Ref == ref {
			names = append(names, t.Name)
		}
	}
	return names
}

// plan pairs ref updates with targets, in the order in which locks are taken.
func (x *Session) plan() {
	if x.options.skip {
		return
	}
	for _, u := range x.outcome.Updates {
		for _, t := range x.targets {
			if t.Ref == u.Ref {
				x.namespaces = append(x.namespaces, string(t.Namespace))
				job := x.server.job(x.push.Repository, t, u.New, x.who)
				job.Force, job.Reason = x.options.force, x.options.reason
				x.plans = append(x.plans, &plan{update: u, target: t, chain: x.server.cfg.Store.Chain(t.Namespace), job: job})
			}
		}
	}
	slices.SortFunc(x.plans, func(a, b *plan) int { return cmp.Compare(a.target.Namespace, b.target.Namespace) })
	if len(x.plans) > 1 {
		for _, p := range x.plans {
			p.label = string(p.target.Namespace) + ": "
		}
	}
}

// promise writes the intent: from here on the push is published if its ref moves, whatever happens to anybody.
func (x *Session) promise(certificate string) error {
	if certificate != "" {
		if _, err := git.ParseOID(certificate); err != nil {
			return fmt.Errorf("read push certificate: %w", err)
		}
	}
	if certificate == plumbing.ZeroHash.String() {
		certificate = ""
	}
	in := &intent.Intent{
		Format: intent.Format, Push: x.id, Time: time.Now().UTC(), Process: x.process, Repository: x.push.Repository,
		Pusher: x.who, Options: x.options.all, Certificate: certificate,
	}
	for _, p := range x.plans {
		w := intent.Entry{Target: p.target, Old: intent.OID(p.update.Old), New: intent.OID(p.update.New), Reason: x.options.reason}
		if h := p.verdict.Head; h != nil {
			w.Head = h.ID
		}
		if c := p.verdict.Forced; c != nil {
			w.Forced, w.Over = true, c.Head.ID
		}
		in.Deploys = append(in.Deploys, w)
	}
	if err := in.Write(x.push.Dir); err != nil {
		_ = os.Remove(intent.Path(x.push.Dir, x.id)) // it may be there, unsynced; the push is refused
		return err
	}
	x.intent = in
	x.step("intent-written")
	return nil
}
