package hooks

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/output"
	"refship/hooks/socket"
	"refship/hooks/words"
	"refship/keys"
)

// Push is one git receive-pack that a Server's hooks belong to.
type Push struct {
	Repository string          // name
	Dir        string          // GIT_DIR
	Key        *keys.Key       // what authenticated; once the push has begun to send, what Began says
	Address    string          // of the client, for the log
	Client     context.Context // ends when the client is gone; nil: it is not known. Checks and waits end with it
	Stopping   context.Context // ends when the server begins to stop; nil: that is not known. Waits end with it
	Nice       int             // of the git that reads what is pushed, in steps of git.Lower
	// Began gives the key as it was when the push began to send: whose the push is, and what it may do. A key that is
	// changed or removed later does not stop it. nil: the push has not begun, or the key was not known any more.
	Began func() (key *keys.Key, may bool)
}

// Session is one running push of a Server. Its two hooks follow each other, and End follows both.
type Session struct {
	push    *push
	asked   Push
	env     []string
	forget  func()
	outcome Outcome

	handlers sync.WaitGroup // hooks that run
	mu       sync.Mutex     // guards the next four
	pre      bool           // pre-receive was called
	accepted bool
	post     bool // post-receive was called
	ended    bool
}

// Outcome of a push.
type Outcome struct {
	Reached    bool  // pre-receive was called
	Refused    error // why pre-receive refused
	Updates    []git.RefUpdate
	Published  []*record.Deploy
	Unmoved    []string // refs that git did not move after pre-receive had accepted the push: Late tells that, not why
	Late       []string // lines for the client that End itself has to say, "refship: …" without a newline
	Undeployed error    // a ref moved and its deploy was not published: git push must exit 1
	// NotDeployed are those refs, and the first error of each: git's report must not say that all is well with them.
	NotDeployed map[string]error
	Behind      error // nodes that were waited for do not run what was published: git push must exit 1, too
}

// Env are the variables that receive-pack needs so that its hooks find the server.
func (x *Session) Env() []string { return x.env }

// PusherOf says who deploys with a key that authenticated an SSH connection to refship's own server.
func PusherOf(key *keys.Key) record.Pusher {
	return record.Pusher{Name: key.Name, Key: key.Fingerprint(), Via: "ssh"}
}

// identify says whose the push is.
func (x *Session) identify(key *keys.Key) { x.push.Key, x.push.Who = key, PusherOf(key) }

// enter admits each hook once, post-receive only after a pre-receive that accepted.
func (x *Session) enter(hook string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return false
	case hook == git.PreReceive && !x.pre:
		key, may := x.asked.Began()
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

// preReceive gives the hook's exit status.
func (x *Session) preReceive(ctx context.Context, req *socket.Request, out *output.Output) byte {
	if err := x.push.preReceive(ctx, req.Vars, req.Input, out); err != nil {
		x.outcome.Refused = err
		return 1
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.accepted = true
	return 0
}

// postReceive publishes what belongs to the refs that moved, and gives the hook's exit status. It is not bound to the
// hook's connection: once git has moved a ref, its deploy is published even if the client does not hear of it.
func (x *Session) postReceive(req *socket.Request, out *output.Output) byte {
	p := x.push
	p.step("post-receive-start")
	moved, err := git.ParseUpdates(req.Input)
	if err != nil {
		out.Line("%s: %v", words.Undeployed, err)
		return 1 // End looks at the refs themselves
	}
	p.skipped = p.engine.tellStored(p.publishing, &p.Push, moved, out)
	if p.intent == nil {
		return 0
	}
	p.run.out = out
	for _, d := range p.run.open() {
		if slices.ContainsFunc(moved, func(u git.RefUpdate) bool { return u.Ref == d.update.Ref && u.New == d.update.New }) {
			x.finish(d)
		} else {
			p.abandon(d)
		}
	}
	x.await(out)
	if x.outcome.Undeployed != nil {
		return 1
	}
	return 0
}

// await waits for nodes, as long as somebody is there to hear of them. When all is published, the push is under way no
// more: etcd's upkeep does not wait for nodes.
func (x *Session) await(out *output.Output) {
	p := x.push
	if len(p.run.open()) == 0 {
		p.leave()
	}
	defer func(began time.Time) { p.awaited = time.Since(began) }(time.Now())
	ctx, cancel := context.WithCancelCause(p.publishing)
	defer cancel(nil)
	for _, end := range []context.Context{p.client, p.stopping} {
		if end != nil {
			defer context.AfterFunc(end, func() { cancel(context.Cause(end)) })()
		}
	}
	if err := p.engine.await(ctx, out, p.Options.Wait, p.run.deliveries...); err != nil {
		x.outcome.Behind = err
		p.engine.tellBehind(out, err)
	}
}

func (x *Session) finish(d *delivery) {
	if err := x.push.finish(d); err != nil {
		x.notDeployed(err, d)
	}
}

func (x *Session) notDeployed(err error, all ...*delivery) {
	o := &x.outcome
	o.Undeployed = errors.Join(o.Undeployed, err)
	if o.NotDeployed == nil {
		o.NotDeployed = make(map[string]error)
	}
	for _, d := range all {
		if o.NotDeployed[d.target.Ref] == nil {
			o.NotDeployed[d.target.Ref] = err
		}
	}
}

// End is called after receive-pack has ended, however it ended: it waits for a hook that still runs, publishes what
// moved but was not published, and releases the locks. The end of ctx breaks off publishing.
func (x *Session) End(ctx context.Context) Outcome {
	x.mu.Lock()
	x.ended = true
	reached := x.pre
	x.mu.Unlock()
	p := x.push
	// Without receive-pack nothing that is being prepared can be accepted any more.
	p.cancel(socket.ErrGone)
	defer context.AfterFunc(ctx, func() { p.abort(context.Cause(ctx)) })()
	x.handlers.Wait()
	defer p.abort(nil)
	defer x.forget()
	if key, _ := x.asked.Began(); key != nil { // no hook may have asked
		x.identify(key)
	}
	x.outcome.Reached, x.outcome.Updates = reached, p.Updates
	if p.intent != nil {
		x.finishLate()
	}
	if p.run != nil {
		p.run.releaseAll(p.publishing)
		x.outcome.Published = resultsOf(p.run.deliveries).published
	}
	if p.leave != nil {
		p.leave()
	}
	if x.accepted {
		p.engine.dropSuperseded(p.publishing, p.Repository, p.GitDir)
	}
	x.report(ctx)
	return x.outcome
}

// finishLate does what post-receive did not: it never ran, or ran for other refs only.
func (x *Session) finishLate() {
	p := x.push
	left := p.run.open()
	if len(left) == 0 {
		return
	}
	p.run.out = &output.Output{Send: func(line string) error {
		x.outcome.Late = append(x.outcome.Late, "refship: "+line)
		return nil
	}}
	var refs []string
	for _, d := range left {
		refs = append(refs, d.target.Ref)
	}
	now, err := git.ReadRefs(p.publishing, p.GitDir, refs)
	if err != nil {
		x.notDeployed(err, left...)
		p.run.out.Lines(p.engine.undeployed(p.Repository, left[0].target, err))
		return
	}
	for _, d := range left {
		if now[d.target.Ref] != d.update.New {
			p.abandon(d)
			p.run.out.Line("%s did not move: nothing was deployed", d.target.Ref)
			x.outcome.Unmoved = append(x.outcome.Unmoved, d.target.Ref)
			continue
		}
		x.finish(d)
	}
}
