package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// HookCall is one run of an installed hook: a process of its own, which knows nothing but what git handed over.
type HookCall struct {
	GitDir     string // of the repository: what linked work trees have in common
	Repository string // name, for records
	Who        record.Pusher
	Vars       map[string]string // git's own: the quarantine, GIT_PUSH_*
	Input      []byte            // standard input
	Out        io.Writer         // what the pusher reads
	Offline    bool              // etcd is not to be asked: the call is about no target's ref
}

// Targets are those whose ref is updated.
func (c *HookCall) Targets() ([]target.Target, error) {
	targets, err := target.ReadTargets(c.GitDir)
	if err != nil {
		return nil, err
	}
	updates, err := parseUpdates(c.Input)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(targets, func(t target.Target) bool {
		return !slices.ContainsFunc(updates, func(u RefUpdate) bool { return u.Ref == t.Ref })
	}), nil
}

// Waits tells whether a push that was broken off waits to be deployed.
func (c *HookCall) Waits() (bool, error) {
	waiting, err := intent.List(c.GitDir)
	return len(waiting) > 0, err
}

func (c *HookCall) speaker(s *Deployer, gone func(error)) *speaker {
	return newSpeaker(s.every, func(kind byte, payload []byte) error {
		if kind != frameOutput {
			return nil
		}
		if _, err := c.Out.Write(payload); err != nil {
			return fmt.Errorf("tell git: %w", err)
		}
		return nil
	}, gone)
}

// PreReceive is an installed pre-receive: it deploys what pushes left behind that were broken off, prepares this one or
// refuses it, and gives the hook's exit status. Other than a server it gives its locks back before git moves the refs: it
// cannot know whether another hook refuses the push after it, and a lock that nobody gives back would stop everybody else
// for a minute. So post-receive prepares again, which finds in etcd all that was stored here.
func (s *Deployer) PreReceive(ctx context.Context, c *HookCall) byte {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := c.speaker(s, func(error) { cancel(errHookGone) })
	x := s.newSession(Push{Repository: c.Repository, Dir: c.GitDir})
	x.who, x.process = c.Who, intent.ReceivePack()
	s.start(x)
	defer s.end(x)
	defer x.abort(nil)
	defer x.cancel(nil)
	if o, err := pushOptions(c.Vars); err == nil && !o.dryRun { // which writes nothing
		s.settle(ctx, c, out)
	}
	status := x.preReceive(ctx, &request{vars: c.Vars, input: c.Input}, out)
	for _, p := range x.plans {
		x.release(p)
	}
	return status
}

// settle deploys what pushes left behind that were broken off, so far as that can be done: a push does not fail by what
// another one left.
func (s *Deployer) settle(ctx context.Context, c *HookCall, out *speaker) {
	if c.Offline {
		return
	}
	r := s.reconciler(c.Repository, c.GitDir)
	r.note(r.intents(ctx))
	for _, line := range r.lines {
		out.line("%s", line)
	}
	if r.err != nil {
		for _, line := range s.explain("left as it is", r.err) {
			out.line("%s", line)
		}
	}
}

// PostReceive is an installed post-receive: it publishes what pre-receive has promised for the refs that have moved, and
// gives the hook's exit status, of which git makes nothing. It goes on when nobody listens any more.
func (s *Deployer) PostReceive(ctx context.Context, c *HookCall) byte {
	out := c.speaker(s, func(error) {})
	s.step(ctx, "post-receive-start")
	if err := s.postReceive(ctx, c, out); err != nil {
		for _, line := range s.explain("pushed, not deployed", err) {
			out.line("%s", line)
		}
		return 1
	}
	return 0
}

func (s *Deployer) postReceive(ctx context.Context, c *HookCall, out *speaker) error {
	moved, err := parseUpdates(c.Input)
	if err != nil {
		return err
	}
	o, err := pushOptions(c.Vars)
	if err != nil {
		return err
	}
	targets, err := target.ReadTargets(c.GitDir)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range targets {
		i := slices.IndexFunc(moved, func(u RefUpdate) bool { return u.Ref == t.Ref && !u.Deletes() })
		if i < 0 {
			continue
		}
		if err := s.redeem(ctx, c, t, moved[i], o.skip, out); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed == nil {
		s.settle(ctx, c, out)
	}
	return failed
}

// promised is a target's part of an intent.
type promised struct {
	in *intent.Intent
	w  intent.Entry
}

// redeem publishes what was promised to one target for a ref that has moved.
func (s *Deployer) redeem(ctx context.Context, c *HookCall, t target.Target, u RefUpdate, skip bool, out *speaker) error {
	all, err := promises(c.GitDir, t, u)
	if err != nil {
		return err
	}
	if skip {
		out.line("%s stored, not deployed: deploy.skip; deploy it with: %s", u.Ref, s.redeploy(c.Repository, t))
		return s.keep(c, all)
	}
	if len(all) == 0 {
		return s.unpromised(ctx, c, t, u, out)
	}
	now, err := git.ReadRef(ctx, c.GitDir, t.Ref)
	if err != nil {
		return err
	}
	if now != u.New {
		out.line("%s has moved on to %s since: %s is not deployed by itself", u.Ref, record.Hash(now.String()).Short(), record.Hash(u.New.String()).Short())
		return s.keep(c, all)
	}
	start, first := time.Now(), all[0]
	job := s.job(c.Repository, t, u.New, first.in.Pusher)
	job.Force, job.Reason = first.w.Forced, first.w.Reason
	err = out.during("", "publishing", func(progress func(text.Progress)) error {
		w := &work{
			server: s, gitDir: c.GitDir, chain: s.cfg.Store.Chain(t.Namespace), job: job, over: first.w.Over,
			say: func(line string) { out.line("%s", line) }, progress: progress, cost: new(cost),
		}
		d, v, err := w.do(ctx)
		switch {
		case err != nil:
			return err
		case v.Already:
			out.line("%s is already deployed as %d of %s", d.Hash.Short(), d.ID, t.Namespace)
		case v.Same:
			out.line("%s", unchanged(t, d))
		default:
			out.line("%s%s", published(d, time.Since(start)), s.unsigned())
		}
		return nil
	})
	if isRefusal(err) && s.unpromised(ctx, c, t, u, out) == nil {
		return s.keep(c, all) // another run has published it, and the chain went on
	}
	if err != nil {
		remedy := "the ref has moved; deploy it with: " + s.redeploy(c.Repository, t)
		if first := s.cfg.Remedy(err); first != "" {
			remedy = first + "; " + remedy
		}
		return &fault.Error{What: fmt.Sprintf("publish to %s: %v", t.Namespace, err), Remedy: remedy, Cause: err}
	}
	s.step(ctx, "published")
	if err := s.keep(c, all); err != nil {
		return err
	}
	s.step(ctx, "intent-removed")
	return nil
}

// unsigned says that there is no key to sign records with.
func (s *Deployer) unsigned() string {
	if s.cfg.Signer != nil {
		return ""
	}
	return ", not signed"
}

// promises finds the intents of a ref update, this push's first, then the newest: another hook may have refused the same
// push before, or refuse it to somebody else right now.
func promises(gitDir string, t target.Target, u RefUpdate) ([]promised, error) {
	pushes, err := intent.List(gitDir)
	if err != nil {
		return nil, err
	}
	var all []promised
	for _, push := range pushes {
		in, err := intent.Read(gitDir, push)
		var bad *intent.Bad
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.As(err, &bad): // published by another process; told by settle
			continue
		case err != nil:
			return nil, err
		}
		for _, w := range in.Deploys {
			if w.Target == t && plumbing.Hash(w.Old) == u.Old && plumbing.Hash(w.New) == u.New {
				all = append(all, promised{in, w})
			}
		}
	}
	own := intent.ReceivePack()
	others := func(p promised) int {
		if own != "" && p.in.Process == own {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b promised) int {
		return cmp.Or(others(a)-others(b), b.in.Time.Compare(a.in.Time), cmp.Compare(a.in.Push, b.in.Push))
	})
	return all, nil
}

// keep takes promises that were kept out of their intents.
func (s *Deployer) keep(c *HookCall, all []promised) error {
	r := s.reconciler(c.Repository, c.GitDir)
	for _, p := range all {
		if err := r.drop(p.in, p.w.Target.Name); err != nil {
			return err
		}
	}
	return nil
}

// unpromised is a target's ref that has moved without an intent: pre-receive found it deployed already, another process
// has published it meanwhile, or pre-receive never ran.
func (s *Deployer) unpromised(ctx context.Context, c *HookCall, t target.Target, u RefUpdate, out *speaker) error {
	repo, err := deploy.OpenRepository(ctx, c.GitDir, nil)
	if err != nil {
		return err
	}
	defer repo.Close()
	job := s.job(c.Repository, t, u.New, c.Who)
	job.Repo = repo
	chain := s.cfg.Store.Chain(t.Namespace)
	head, err := chain.Head(ctx)
	if err != nil {
		return err
	}
	standing, _, err := job.Relation(ctx, head)
	switch {
	case err != nil:
		return err
	case standing == deploy.RelationEqual || standing == deploy.RelationBehind:
		out.line("%s needs no deploy: %s is at deploy %d, %s", record.Hash(u.New.String()).Short(), t.Namespace, head.ID, head.Hash.Short())
		return nil
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("no pre-receive of refship has prepared %s at %s", u.Ref, record.Hash(u.New.String()).Short()),
		Remedy: "who runs the git server looks at the hooks (refship hook status), and deploys it with: " + s.redeploy(c.Repository, t),
	}
}
