package hooks

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

const (
	// maxLoading is how many targets' deploys are read and stored at a time, all pushes together: each keeps up to 32 MiB
	// of new content between reading and storing it, and a few MiB of requests to etcd, so this bounds the server's memory
	// to some 300 MiB for them. More at once would be no faster: git and etcd's disk are what everybody waits for.
	maxLoading = 8
	// stepQueue is what a push does that waits for its turn.
	stepQueue = "waiting for other deploys to be stored"
	// lockTries is how often a deploy begins anew whose lock was lost on the way.
	lockTries = 3
)

// cost is what a push or a deploy has spent so far.
type cost struct {
	lockWait time.Duration // waiting for chain locks
	stored   int64         // bytes that were put into etcd
}

// turns bounds how many deploys are read and stored at a time. Who takes a turn has its chain locks already, or needs none
// before it gives the turn back, and who has a turn waits for no lock: so nobody waits in a circle. First come, first served.
type turns struct{ free *semaphore.Weighted }

func newTurns() turns { return turns{semaphore.NewWeighted(maxLoading)} }

// take waits for the turn of so many deploys; give must be called.
func (t turns) take(ctx context.Context, deploys int) (give func(), err error) {
	n := int64(min(deploys, maxLoading))
	if err := t.free.Acquire(ctx, n); err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { t.free.Release(n) }, nil
}

// work is one deploy outside of a push's hooks.
type work struct {
	server    *Deployer
	gitDir    string // "" where the job is of a plain directory
	chain     *deploy.Chain
	job       *deploy.Job     // without Repo, which do opens
	over      record.ID       // the one head that the job's Force may override; 0: none
	unchecked *target.Target  // whose check is run first; nil: it has passed in its push's pre-receive
	client    context.Context // ends when whoever asked is gone, or is not to wait any more; only the check ends with it. nil: nobody is
	say       func(string)
	tell      func(*deploy.Prepared) // what the deploy will be, once; nil: it was told
	progress  func(text.Progress)
	cost      *cost
}

// do is the whole way of a deploy: check, the target's own check, lock, prepare, upload, publish, and again if the lock was
// lost on the way. Where the verdict says that there was nothing to do, the deploy is the chain's head.
func (w *work) do(ctx context.Context) (d *record.Deploy, v *deploy.Verdict, err error) {
	if w.gitDir != "" {
		repo, err := deploy.OpenRepository(ctx, w.gitDir, nil)
		if err != nil {
			return nil, nil, err
		}
		defer repo.Close()
		own := *w.job
		own.Repo, w.job = repo, &own
	}
	for range lockTries {
		if d, v, err = w.once(ctx); !errors.Is(err, deploy.ErrLockLost) {
			break
		}
	}
	return d, v, err
}

func (w *work) once(ctx context.Context) (*record.Deploy, *deploy.Verdict, error) {
	v, err := w.check(w.chain.Check(ctx, w.job))
	if err != nil {
		return nil, nil, err
	}
	if v.Idle() {
		return v.Head, v, nil
	}
	if v, err = w.tryOut(ctx, v); err != nil {
		return nil, nil, err
	}
	if v.Idle() {
		return v.Head, v, nil // and only that: it was not checked
	}
	lock, v, err := w.lock(ctx, v)
	switch {
	case deploy.IsFull(err):
		if _, refused := w.load(ctx, nil); refused != nil { // says how much is needed
			err = refused
		}
		return nil, nil, err
	case err != nil:
		return nil, nil, err
	case lock == nil:
		return v.Head, v, nil
	}
	defer func() { _ = lock.Unlock(context.WithoutCancel(ctx)) }() // published or not: at worst the lease ends it
	p, err := w.load(ctx, lock)
	if err != nil {
		return nil, nil, err
	}
	if p.Verdict.Idle() {
		return p.Verdict.Head, p.Verdict, nil
	}
	d, err := p.Publish(ctx)
	return d, p.Verdict, err
}

// check lets force override nothing but the head that whoever forced was shown.
func (w *work) check(v *deploy.Verdict, err error) (*deploy.Verdict, error) {
	if err == nil {
		err = onlyOver(v, w.over)
	}
	return v, err
}

func (w *work) lock(ctx context.Context, v *deploy.Verdict) (*deploy.Lock, *deploy.Verdict, error) {
	start := time.Now()
	defer func() { w.cost.lockWait += time.Since(start) }()
	who := w.server.holder(w.job.Pusher.Name, w.job.Repository, w.job.Ref)
	return w.server.lock(ctx, w.chain, w.job, v, who, start.Add(w.server.lockWait), w.say)
}

// load prepares and stores when it is the deploy's turn; without a lock it only prepares, and asks for room.
func (w *work) load(ctx context.Context, lock *deploy.Lock) (*deploy.Prepared, error) {
	w.progress(text.Progress{Step: stepQueue})
	give, err := w.server.turns.take(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer give()
	p, err := w.chain.Prepare(ctx, lock, w.job, w.progress)
	if err != nil {
		return nil, err
	}
	if _, err := w.check(p.Verdict, nil); err != nil || p.Verdict.Idle() {
		return p, err
	}
	if err := w.server.cfg.Store.CheckRoom(ctx, []*deploy.Prepared{p}); err != nil {
		return nil, err
	}
	if lock == nil {
		return p, nil
	}
	if w.tell != nil {
		w.tell(p)
		w.tell = nil // not again where the lock is lost
	}
	return p, store(ctx, p, w.cost, w.progress)
}

// store uploads, and counts what was stored.
func store(ctx context.Context, p *deploy.Prepared, c *cost, progress func(text.Progress)) error {
	written := int64(0)
	err := p.Upload(ctx, func(told text.Progress) {
		written = told.Bytes
		progress(told)
	})
	if err == nil {
		written = p.NewBytes
	}
	c.stored += written
	return err
}

// lock takes a chain's lock for a job that v was the verdict on. While it waits it says for whom, and it asks again
// whenever the chain has a new head: who would be refused then is refused at once. Instead of a lock it may give a newer
// verdict: there is nothing to do any more.
func (s *Deployer) lock(ctx context.Context, chain *deploy.Chain, job *deploy.Job, v *deploy.Verdict, who record.Holder, until time.Time, say func(string)) (*deploy.Lock, *deploy.Verdict, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var overtaken *deploy.Verdict
	shown := over(v)
	waiting := func(h record.Holder, _ time.Duration) {
		if intent.ProcessLife(h.Process) == intent.Ended {
			s.unstick(ctx, chain, h)
			return
		}
		say("waiting for the chain lock of " + string(chain.Namespace()) + ": held by " + h.String())
		head, err := chain.Head(ctx)
		if err != nil || head == nil || v.Head != nil && head.ID == v.Head.ID {
			return // trouble comes up again with the lock
		}
		now, err := chain.Check(ctx, job)
		if err == nil {
			err = onlyOver(now, shown)
		}
		switch {
		case isRefusal(err):
			stop(err)
		case err == nil && now.Idle():
			overtaken = now
			stop(errOvertaken)
		case err == nil:
			v = now
		}
	}
	lock, err := chain.Lock(ctx, who, time.Until(until), waiting)
	if errors.Is(err, errOvertaken) {
		return nil, overtaken, nil
	}
	return lock, v, err
}

// unstick takes the lock of a process of this machine away that has died: an installed hook that was killed, or another
// server. Whoever waits for the lock gets it then; where etcd does not take that, it goes with its lease.
func (s *Deployer) unstick(ctx context.Context, chain *deploy.Chain, dead record.Holder) {
	_, err := chain.BreakDeadLock(ctx, func(h record.Holder) bool { return h.Process == dead.Process })
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "take a dead process's lock away", "namespace", chain.Namespace(), "error", err)
	}
}

// errOvertaken ends waiting for a lock that is of no use any more.
var errOvertaken = errors.New("somebody else deployed it")
