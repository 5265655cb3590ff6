package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy"
	"refship/keys"
)

// maxLogged is how many ref updates of a push its log line names.
const maxLogged = 50

// Push is one git receive-pack.
type Push struct {
	Repository string    // name
	Dir        string    // GIT_DIR
	Key        *keys.Key // who authenticated
	// May asks again, at the time of the hook, what the user may do (a removed rule refuses).
	May func(action keys.Action) bool
}

// Session is one running push. Its two hooks follow each other, and End follows both.
type Session struct {
	server *Server
	push   Push
	token  string
	id     string // names the intent
	began  time.Time

	preparing  context.Context // of pre-receive; End ends it
	publishing context.Context // of what comes after: only the end of End's own context ends it
	cancel     context.CancelCauseFunc
	abort      context.CancelCauseFunc

	handlers sync.WaitGroup
	mu       sync.Mutex // guards the next four
	pre      bool       // pre-receive was called
	accepted bool
	post     bool // post-receive was called
	ended    bool

	// Written by one hook's handler, read by the next and by End.
	started time.Time // pre-receive
	targets []Target
	plans   []*plan
	intent  *intent  // nil: nothing to publish
	already bool     // a target's head was this very deploy
	deploys []string // what was published, for the log: "/refship/config 7"
	outcome Outcome
}

// plan is one target's deploy of this push.
type plan struct {
	update   RefUpdate
	target   Target
	chain    *deploy.Chain
	job      *deploy.Job
	verdict  *deploy.Verdict
	lock     *deploy.Lock     // nil: not held
	prepared *deploy.Prepared // nil: not prepared, or used up
	label    string           // starts its lines if the push has several plans
	done     bool             // published, or failed and said so
}

// Outcome of a push.
type Outcome struct {
	Reached    bool  // pre-receive was called
	Refused    error // why pre-receive refused
	Updates    []RefUpdate
	Published  []*deploy.Deploy
	Late       []string // lines for the client that End itself has to say, "refship: …" without a newline
	Undeployed error    // a ref moved and its deploy was not published: git push must exit 1
}

// Env are the variables that receive-pack needs so that its hooks find the server.
func (x *Session) Env() []string {
	socket, _ := filepath.Abs(x.server.socket())
	return []string{varSocket + "=" + socket, varToken + "=" + x.token}
}

// enter admits each hook once, post-receive only after a pre-receive that accepted.
func (x *Session) enter(hook string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return false
	case hook == preReceive && !x.pre:
		x.pre = true
	case hook == postReceive && x.accepted && !x.post:
		x.post = true
	default:
		return false
	}
	x.handlers.Add(1)
	return true
}

// step marks a failure point.
func (x *Session) step(name string) {
	x.server.cfg.Log.DebugContext(x.publishing, "step", "at", name)
}

func (x *Session) pusher() deploy.Pusher {
	return PusherOf(x.push.Key)
}

// holder is who a lock for this plan belongs to.
func (s *Server) holder(user, repository, ref string) deploy.Holder {
	return deploy.Holder{
		User: user, Repository: repository, Ref: ref,
		Host: s.cfg.Host, Server: s.signer, Since: time.Now().UTC(),
	}
}

// job makes the wish to publish what repository's target has got.
func (s *Server) job(repository string, t Target, commit plumbing.Hash, who deploy.Pusher, reason string) *deploy.Job {
	return &deploy.Job{
		Kind: deploy.KindPush, Commit: commit, Path: t.Path, Frontend: t.Frontend,
		Repository: repository, Target: t.Name, Ref: t.Ref, Pusher: who, Reason: reason,
		Server: s.cfg.Host, Signer: s.cfg.Signer,
	}
}

// release gives a plan's lock back.
func (x *Session) release(p *plan) {
	if p.lock == nil {
		return
	}
	ctx := context.WithoutCancel(x.publishing) // in any case; one request to etcd is bounded
	if err := p.lock.Unlock(ctx); err != nil {
		x.server.cfg.Log.WarnContext(ctx, "release lock", "namespace", p.target.Namespace, "error", err)
	}
	p.lock, p.prepared = nil, nil
}

// publish makes a plan's deploy visible; already says that the chain had it.
func (x *Session) publish(p *plan, progress func(deploy.Progress)) (*deploy.Deploy, bool, error) {
	if p.prepared != nil {
		prepared := p.prepared
		p.prepared = nil
		d, err := prepared.Publish(x.publishing)
		if err == nil {
			p.lock = nil // the txn took it
			return d, false, nil
		}
		if !errors.Is(err, deploy.ErrLockLost) {
			return nil, false, err
		}
		x.server.cfg.Log.WarnContext(x.publishing, "publish again", "namespace", p.target.Namespace, "error", err)
	}
	x.release(p)
	who := x.server.holder(x.push.Key.Name, x.push.Repository, p.update.Ref)
	return x.server.do(x.publishing, x.push.Dir, p.chain, p.job, who, progress)
}

// do is the whole way of a deploy outside of a push's hooks.
func (s *Server) do(ctx context.Context, gitDir string, chain *deploy.Chain, job *deploy.Job, who deploy.Holder, progress func(deploy.Progress)) (*deploy.Deploy, bool, error) {
	repo, err := deploy.OpenRepository(ctx, gitDir, nil)
	if err != nil {
		return nil, false, err
	}
	defer repo.Close()
	own := *job
	own.Repo = repo
	return chain.Do(ctx, s.cfg.Locker, who, &own, s.lockWait, progress)
}

// finish publishes a plan whose ref has moved, says so, and takes it out of the intent.
func (x *Session) finish(p *plan, say func(string), progress func(deploy.Progress)) error {
	p.done = true
	d, already, err := x.publish(p, progress)
	x.release(p)
	if err != nil {
		err = fmt.Errorf("publish to %s: %w", p.target.Namespace, err)
		x.outcome.Undeployed = errors.Join(x.outcome.Undeployed, err)
		for _, line := range undeployed(x.push.Repository, err) {
			say(line)
		}
		return err
	}
	x.step("published")
	if already {
		x.already = true
		say(fmt.Sprintf("%s%s is already deployed as %d", p.label, d.Hash.Short(), d.ID))
	} else {
		x.outcome.Published = append(x.outcome.Published, d)
		x.deploys = append(x.deploys, fmt.Sprintf("%s %d", p.target.Namespace, d.ID))
		say(p.label + published(d, time.Since(x.started)))
	}
	if err := x.intent.drop(x.push.Dir, p.target.Name); err != nil {
		// The deploy stands; reconcile finds it published and drops the intent.
		x.server.cfg.Log.ErrorContext(x.publishing, "drop intent", "push", x.id, "error", err)
		return nil
	}
	x.step("intent-removed")
	return nil
}

// undeployed says that a ref is ahead of its chain, and what to do.
func undeployed(repository string, err error) []string {
	return append(explain("pushed, not deployed", err), "hint: the ref has moved; deploy it with: ssh HOST deploy "+repository)
}

// published says what became of a push.
func published(d *deploy.Deploy, took time.Duration) string {
	text := fmt.Sprintf("deploy %d published in %s: %s", d.ID, inMilliseconds(took), d.Hash.Short())
	switch {
	case d.Record != nil && d.Record.PreviousHash != "":
		return text + " replaces " + d.Record.PreviousHash.Short()
	case d.ID == 1:
		return text + " is the first"
	}
	return text
}

func inMilliseconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return d.Round(time.Second).String()
}

// End is called after receive-pack has ended, however it ended: it waits for a hook that still runs, publishes what moved
// but was not published, and releases the locks. Whatever ends ctx breaks off publishing.
func (x *Session) End(ctx context.Context) Outcome {
	x.mu.Lock()
	x.ended = true
	reached := x.pre
	x.mu.Unlock()
	// Without receive-pack nothing that is being prepared can be accepted any more.
	x.cancel(errHookGone)
	defer context.AfterFunc(ctx, func() { x.abort(context.Cause(ctx)) })()
	x.handlers.Wait()
	defer x.abort(nil)
	defer x.server.forget(x)
	x.outcome.Reached = reached
	if x.intent != nil {
		x.settle()
	}
	for _, p := range x.plans {
		x.release(p)
	}
	x.report(ctx)
	return x.outcome
}

// settle does what post-receive did not: it never ran, or for other refs only.
func (x *Session) settle() {
	var refs []string
	for _, p := range x.plans {
		if !p.done {
			refs = append(refs, p.update.Ref)
		}
	}
	if len(refs) == 0 {
		return
	}
	late := func(line string) { x.outcome.Late = append(x.outcome.Late, "refship: "+deploy.Printable(line)) }
	now, err := readRefs(x.publishing, x.push.Dir, refs)
	if err != nil {
		x.outcome.Undeployed = errors.Join(x.outcome.Undeployed, err)
		for _, line := range undeployed(x.push.Repository, err) {
			late(line)
		}
		return
	}
	for _, p := range x.plans {
		switch {
		case p.done:
		case now[p.update.Ref] == p.update.New:
			_ = x.finish(p, late, func(deploy.Progress) {}) // the outcome has the error
		default:
			x.abandon(p)
			late(p.update.Ref + " did not move: nothing was deployed")
			late("hint: git says why; a shallow clone is made whole by: git fetch --unshallow")
		}
	}
}

// abandon drops a plan whose ref did not move.
func (x *Session) abandon(p *plan) {
	p.done = true
	x.release(p)
	if err := x.intent.drop(x.push.Dir, p.target.Name); err != nil {
		x.server.cfg.Log.ErrorContext(x.publishing, "drop intent", "push", x.id, "error", err)
	}
}

// report writes the one line that the log has of each push.
func (x *Session) report(ctx context.Context) {
	o := &x.outcome
	var refs, from, to []string
	for _, u := range o.Updates[:min(len(o.Updates), maxLogged)] {
		refs = append(refs, u.Ref)
		from = append(from, u.Old.String())
		to = append(to, u.New.String())
	}
	attrs := []slog.Attr{
		slog.String("repository", x.push.Repository), slog.String("user", x.push.Key.Name),
		slog.String("key", x.push.Key.Fingerprint()), slog.String("push", x.id), slog.Int("updates", len(o.Updates)), slog.Any("refs", refs),
		slog.Any("from", from), slog.Any("to", to), slog.String("result", x.result()), slog.Any("deploys", x.deploys),
		slog.Int64("ms", time.Since(x.began).Milliseconds()),
	}
	if err := errors.Join(o.Refused, o.Undeployed); err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	x.server.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "push", attrs...)
}

// result names what became of the push, for the log.
func (x *Session) result() string {
	o := &x.outcome
	switch {
	case !o.Reached:
		return "nothing"
	case o.Refused != nil:
		return "refused"
	case o.Undeployed != nil:
		return "not deployed"
	case len(o.Published) > 0:
		return "deployed"
	case x.already:
		return "already deployed"
	case x.post:
		return "stored"
	}
	return "not moved" // git itself refused every ref after the hook, or was killed
}
