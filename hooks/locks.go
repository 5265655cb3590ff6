package hooks

import (
	"context"
	"errors"
	"time"

	"refship/deploy"
	"refship/deploy/record"
	"refship/hooks/intent"
)

// errOvertaken ends waiting for a lock that is of no use any more.
var errOvertaken = errors.New("it was deployed meanwhile")

// lock takes the locks of all chains, in their order. While it waits, the time runs for all of them together.
func (r *run) lock(ctx context.Context) error {
	start := time.Now()
	defer func() { r.cost.lockWait += time.Since(start) }()
	for _, d := range r.open() {
		if err := r.lockOne(ctx, d, start.Add(r.engine.lockWait)); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// lockOne takes one chain's lock. While it waits it says for whom. Whenever the chain has a new head it asks for the
// verdict again: a delivery that would be refused then is refused at once, and one with nothing to do needs no lock.
func (r *run) lockOne(ctx context.Context, d *delivery, until time.Time) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	waiting := func(holder record.Holder, _ time.Duration) {
		if intent.ProcessLife(holder.Process) == intent.Ended {
			r.engine.breakDeadLock(ctx, d.chain, holder)
			return
		}
		r.out.Line("waiting for the chain lock of %s: held by %s", d.target.Namespace, holder)
		if err := r.judgeAgain(ctx, d); isRefusal(err) {
			stop(err)
		} else if err == nil && d.idle() {
			stop(errOvertaken)
		} // other trouble comes up again with the lock
	}
	lock, err := d.chain.Lock(ctx, r.engine.holder(d.job), time.Until(until), waiting)
	if errors.Is(err, errOvertaken) {
		return nil
	}
	d.lock = lock
	return err
}

// judgeAgain asks for the verdict again if the chain has a new head.
func (r *run) judgeAgain(ctx context.Context, d *delivery) error {
	state, err := d.chain.State(ctx)
	if err != nil || state.Head == nil || d.verdict.Head != nil && state.Head.ID == d.verdict.Head.ID {
		return err
	}
	v, err := d.chain.Check(ctx, d.job)
	if err != nil {
		return err
	}
	return r.judged(d, v)
}

// breakDeadLock removes the lock of a process of this machine that has died: an installed hook that was killed, or
// another server. Where etcd does not take that, the lock goes with its lease.
func (e *Engine) breakDeadLock(ctx context.Context, chain *deploy.Chain, dead record.Holder) {
	_, err := chain.BreakDeadLock(ctx, func(h record.Holder) bool { return h.Process == dead.Process })
	if err != nil {
		e.cfg.Log.WarnContext(ctx, "break the lock of a dead process", "namespace", chain.Namespace(), "error", err)
	}
}

// release gives a delivery's lock back, in any case; one request to etcd is bounded.
func (r *run) release(ctx context.Context, d *delivery) {
	if d.lock == nil {
		return
	}
	ctx = context.WithoutCancel(ctx)
	if err := d.lock.Unlock(ctx); err != nil {
		r.engine.cfg.Log.WarnContext(ctx, "release lock", "namespace", d.target.Namespace, "error", err)
	}
	d.lock, d.prepared = nil, nil
}

func (r *run) releaseAll(ctx context.Context) {
	for _, d := range r.deliveries {
		r.release(ctx, d)
	}
}
