package hooks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
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
	for _, line := range explain("refused", err) {
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
	options, err := pushOptions(req.vars)
	if err != nil {
		return err
	}
	env, err := quarantineEnv(x.push.Dir, req.vars)
	if err != nil {
		return err
	}
	x.targets, err = ReadTargets(ctx, x.push.Dir)
	if err != nil {
		return err
	}
	if err := x.authorise(); err != nil {
		return err
	}
	x.plan()
	if len(x.plans) == 0 {
		x.step("checked")
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
	x.step("checked")
	if err := x.upload(ctx, out); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil || len(x.plans) == 0 {
		return err
	}
	return x.promise(options, req.vars["GIT_PUSH_CERT"])
}

// pushOptions reads GIT_PUSH_OPTION_COUNT and GIT_PUSH_OPTION_<n> (githooks(5)).
func pushOptions(vars map[string]string) ([]string, error) {
	text, ok := vars["GIT_PUSH_OPTION_COUNT"]
	if !ok {
		return []string{}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > len(vars) {
		return nil, fmt.Errorf("read push options: their count is %q", clip([]byte(text)))
	}
	options := []string{}
	var refused refusals
	for i := range n {
		option, ok := vars["GIT_PUSH_OPTION_"+strconv.Itoa(i)]
		if !ok {
			return nil, fmt.Errorf("read push options: number %d of %d is missing", i, n)
		}
		if strings.HasPrefix(option, "deploy.") {
			refused.add(&deploy.RefusedError{
				What:   fmt.Sprintf("push option %q is not known", clip([]byte(option))),
				Remedy: "this server takes no deploy options: push again without it",
			})
		}
		options = append(options, option)
	}
	return options, refused.err()
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
	for _, u := range x.outcome.Updates {
		for _, t := range x.targets {
			if t.Ref == u.Ref {
				x.plans = append(x.plans, &plan{
					update: u, target: t, chain: x.server.cfg.Chain(t.Namespace),
					job: x.server.job(x.push.Repository, t, u.New, x.pusher(), ""),
				})
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

// check asks every chain whether it takes its deploy, before anything is locked.
func (x *Session) check(ctx context.Context, out *speaker) error {
	var refused refusals
	for _, p := range x.plans {
		err := out.during(p.label, "checking", func(func(deploy.Progress)) (err error) {
			p.verdict, err = p.chain.Check(ctx, p.job)
			return err
		})
		if err != nil && !isRefusal(err) {
			return err // etcd or the repository is in trouble: the other targets would say the same
		}
		if err != nil {
			refused.add(err)
			continue
		}
		out.line("%s", x.greeting(p))
		if r := p.verdict.Undoes; r != nil {
			out.line("%swarning: deploy %d by %s was a rollback (%q), and this push brings back what it undid", p.label, r.ID, r.By(), r.Record.Reason)
		}
	}
	if err := refused.err(); err != nil {
		return err
	}
	x.leaveOut(func(p *plan) bool { return p.verdict.Already })
	return nil
}

// leaveOut takes the plans out that have nothing to do.
func (x *Session) leaveOut(already func(*plan) bool) {
	x.plans = slices.DeleteFunc(x.plans, func(p *plan) bool {
		if !already(p) {
			return false
		}
		x.already = true
		x.release(p)
		return true
	})
}

// isRefusal tells a refusal of one deploy from trouble that concerns all.
func isRefusal(err error) bool {
	var conflict *deploy.ConflictError
	var refused *deploy.RefusedError
	return errors.As(err, &conflict) || errors.As(err, &refused)
}

// greeting says who deploys what: "config main 1a2b3c4 → 5d6e7f8, 3 commits, by laptop".
func (x *Session) greeting(p *plan) string {
	to := deploy.Hash(p.update.New.String()).Short()
	start := fmt.Sprintf("%s%s %s ", p.label, x.push.Repository, shortRef(p.update.Ref))
	v := p.verdict
	switch {
	case v.Already:
		return fmt.Sprintf("%s%s is already deployed as %d", start, to, v.Head.ID)
	case v.Head == nil:
		return fmt.Sprintf("%s→ %s, the first deploy, by %s", start, to, x.push.Key.Name)
	}
	commits := deploy.Count(len(v.Commits), "commit")
	if v.More {
		commits = "more than " + commits
	}
	return fmt.Sprintf("%s%s → %s, %s, by %s", start, v.Head.Hash.Short(), to, commits, x.push.Key.Name)
}

// upload takes the locks, plans under them, and brings etcd what it lacks. Nothing of it is visible.
func (x *Session) upload(ctx context.Context, out *speaker) error {
	if len(x.plans) == 0 {
		return nil
	}
	if err := x.lock(ctx, out); err != nil {
		return err
	}
	x.step("locked")
	var refused refusals
	for _, p := range x.plans {
		err := out.during(p.label, "reading", func(progress func(deploy.Progress)) (err error) {
			p.prepared, err = p.chain.Prepare(ctx, p.lock, p.job, progress)
			return err
		})
		if err != nil && !isRefusal(err) {
			return err
		}
		if err != nil {
			refused.add(err)
		}
	}
	if err := refused.err(); err != nil {
		return err
	}
	x.leaveOut(func(p *plan) bool { // somebody else deployed it while this push waited for the lock
		p.verdict = p.prepared.Verdict
		if p.verdict.Already {
			out.line("%s", x.greeting(p))
		}
		return p.verdict.Already
	})
	if err := x.room(ctx, out); err != nil {
		return err
	}
	x.step("prepared")
	for _, p := range x.plans {
		err := out.during(p.label, "storing", func(progress func(deploy.Progress)) error {
			return p.prepared.Upload(ctx, progress)
		})
		if err != nil {
			return err
		}
	}
	x.step("uploaded")
	return nil
}

// lock takes the locks of all chains, sorted by namespace, so that two pushes never wait for each other.
func (x *Session) lock(ctx context.Context, out *speaker) error {
	end := time.Now().Add(x.server.lockWait)
	for _, p := range x.plans {
		who := x.server.holder(x.push.Key.Name, x.push.Repository, p.update.Ref)
		waiting := func(h deploy.Holder, _ time.Duration) {
			out.line("waiting for the chain lock of %s: held by %s", p.target.Namespace, h)
		}
		lock, err := p.chain.Lock(ctx, x.server.cfg.Locker, who, time.Until(end), waiting)
		if err != nil {
			return err
		}
		p.lock = lock
	}
	return context.Cause(ctx)
}

// room says how much there is to store, and refuses what etcd has no room for.
func (x *Session) room(ctx context.Context, out *speaker) error {
	if len(x.plans) == 0 {
		return nil
	}
	var all []*deploy.Prepared
	for _, p := range x.plans {
		all = append(all, p.prepared)
	}
	err := out.during("", "checking", func(func(deploy.Progress)) error { return x.server.cfg.Room(ctx, all) })
	if err != nil {
		return err
	}
	for _, p := range x.plans {
		out.line("%s%d of %s changed, %s new, %s to store", p.label, p.prepared.Changed,
			deploy.Count(p.prepared.Files, "file"), deploy.Count(p.prepared.NewContents, "content"), deploy.Bytes(p.prepared.NewBytes))
		if names := p.prepared.Submodules; len(names) > 0 {
			out.line("%swarning: %s recorded only, without content: %s", p.label, areSubmodules(len(names)), firstFew(names))
		}
	}
	return nil
}

func areSubmodules(n int) string {
	if n == 1 {
		return "1 submodule is"
	}
	return fmt.Sprintf("%d submodules are", n)
}

// firstFew lists names, but not too many for a line.
func firstFew(names []string) string {
	const few = 5
	if len(names) > few {
		return strings.Join(names[:few], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

// promise writes the intent: from here on the push is published if its ref moves, whatever happens to anybody.
func (x *Session) promise(options []string, certificate string) error {
	if certificate != "" {
		if _, err := parseOID(certificate); err != nil {
			return fmt.Errorf("read push certificate: %w", err)
		}
	}
	if certificate == plumbing.ZeroHash.String() {
		certificate = ""
	}
	in := &intent{
		Format: intentFormat, Push: x.id, Time: time.Now().UTC(), Repository: x.push.Repository,
		Pusher: x.pusher(), Options: options, Certificate: certificate,
	}
	for _, p := range x.plans {
		in.Deploys = append(in.Deploys, wish{Target: p.target, Old: oid(p.update.Old), New: oid(p.update.New)})
	}
	if err := in.write(x.push.Dir); err != nil {
		_ = os.Remove(intentPath(x.push.Dir, x.id)) // it may be there, unsynced; the push is refused
		return err
	}
	x.intent = in
	x.step("intent-written")
	return nil
}
