package hooks

import (
	"context"
	"errors"
	"sync"
	"time"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
	"refship/keys"
)

// Push is one git receive-pack.
type Push struct {
	Repository string          // name
	Dir        string          // GIT_DIR
	Key        *keys.Key       // who authenticated; once the push has begun to send, what Began says
	Address    string          // of the client, for the log
	Client     context.Context // ends when the client is gone; nil: it is not known. Only a target's check ends with it
	// Began gives the key as it was when the push began to send: whose the push is, and what it may do. A key that is
	// changed or removed later does not stop it. nil: the push has not begun, or the key was not known any more.
	Began func() (key *keys.Key, may bool)
}

// Session is one running push. Its two hooks follow each other, and End follows both.
type Session struct {
	server  *Deployer
	push    Push
	who     record.Pusher
	token   string         // with these three its hooks find a Server
	socket  string         //
	forget  func(*Session) //
	id      string         // names the intent
	process string         // git receive-pack, of an installed hook
	began   time.Time

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
	started    time.Time // pre-receive
	targets    []target.Target
	plans      []*plan
	options    options
	intent     *intent.Intent // nil: nothing to publish
	cost       cost
	already    bool     // a target's head was this very deploy
	unchanged  bool     // nothing below a target's path changed
	skipped    bool     // a target's ref was stored only, as asked for
	forced     bool     // an override of a chain's head was published
	commits    int      // that were published
	namespaces []string // of the targets
	trouble    error    // what keeps every target from being published
	deploys    []string // what was published, for the log: "/refship/config 7"
	outcome    Outcome
}

// plan is one target's deploy of this push.
type plan struct {
	update   RefUpdate
	target   target.Target
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
	Published  []*record.Deploy
	Late       []string // lines for the client that End itself has to say, "refship: …" without a newline
	Undeployed error    // a ref moved and its deploy was not published: git push must exit 1
}

// Env are the variables that receive-pack needs so that its hooks find the server.
func (x *Session) Env() []string {
	return []string{varSocket + "=" + x.socket, varToken + "=" + x.token}
}

// enter admits each hook once, post-receive only after a pre-receive that accepted.
func (x *Session) enter(hook string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return false
	case hook == git.PreReceive && !x.pre:
		key, may := x.push.Began()
		if !may {
			return false
		}
		x.identify(key)
		x.pre = true
	case hook == git.PostReceive && x.accepted && !x.post:
		x.post = true
	default:
		return false
	}
	x.handlers.Add(1)
	return true
}

// step marks a failure point.
func (x *Session) step(name string) { x.server.step(x.publishing, name) }

// identify says whose the push is.
func (x *Session) identify(key *keys.Key) { x.push.Key, x.who = key, PusherOf(key) }

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
	defer x.forget(x)
	if key, _ := x.push.Began(); key != nil { // no hook may have asked
		x.identify(key)
	}
	x.outcome.Reached = reached
	if x.intent != nil {
		x.settle()
	}
	for _, p := range x.plans {
		x.release(p)
	}
	if x.accepted {
		x.server.dropSuperseded(x.publishing, x.push)
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
	late := func(line string) { x.outcome.Late = append(x.outcome.Late, "refship: "+text.Printable(line)) }
	now, err := git.ReadRefs(x.publishing, x.push.Dir, refs)
	if err != nil {
		x.outcome.Undeployed = errors.Join(x.outcome.Undeployed, err)
		for _, line := range x.undeployed(x.plans[0].target, err) {
			late(line)
		}
		return
	}
	for _, p := range x.plans {
		switch {
		case p.done:
		case now[p.update.Ref] == p.update.New:
			_ = x.finish(p, late, func(text.Progress) {}) // the outcome has the error
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
	if err := x.intent.Drop(x.push.Dir, p.target.Name); err != nil {
		x.server.cfg.Log.ErrorContext(x.publishing, "drop intent", "push", x.id, "error", err)
	}
}
