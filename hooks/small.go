package hooks

import (
	"context"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/hooks/report"
)

// small prepares a single small delivery, whose lock is taken by the txn that stores it. false: nothing was written,
// and the lock comes first. So it does after a check, which may have taken minutes since the verdict, and where others
// have all turns, since who waits for a turn waits with the lock.
func (r *run) small(ctx context.Context) (done bool, err error) {
	open := r.open()
	if len(open) != 1 {
		return false, nil
	}
	d := open[0]
	if d.target.Check != "" || !d.verdict.MayBeSmall(d.job) || r.engine.loading.IsFull(d.job.Pusher.Key) {
		return false, nil
	}
	err = r.inTurn(ctx, func(ctx context.Context) error {
		done, err = r.loadSmall(ctx, d)
		return err
	})
	return done, err
}

func (r *run) loadSmall(ctx context.Context, d *delivery) (done bool, err error) {
	var p *deploy.Prepared
	err = r.out.During(d.label, "reading", func(progress func(text.Progress)) (err error) {
		p, err = d.chain.PrepareSmall(ctx, d.verdict, d.job, progress)
		return err
	})
	if err != nil || p == nil {
		return false, err
	}
	defer func() {
		if !done {
			p.Drop()
		}
	}()
	err = r.out.During("", "checking", func(func(text.Progress)) (err error) {
		r.giveRoom, err = r.engine.cfg.Store.TakeRoom(ctx, []*deploy.Prepared{p})
		return err
	})
	switch reason, _ := fault.ReasonOf(err); {
	case reason == deploy.ReasonMaxStored: // gc may have made room since the verdict
		return false, nil
	case err != nil:
		return false, err
	}
	r.engine.step(ctx, "prepared")
	var lock *deploy.Lock
	start := time.Now()
	err = r.out.During(d.label, "storing", func(func(text.Progress)) (err error) {
		lock, err = p.LockAndUpload(ctx, r.engine.holder(d.job))
		return err
	})
	r.cost.lockWait += time.Since(start)
	if err != nil || lock == nil {
		return false, err
	}
	d.lock, d.prepared, d.read = lock, p, p
	r.phase(report.Storing, d)
	r.tellAmounts(d)
	r.cost.stored += p.NewBytes
	r.engine.step(ctx, "locked")
	r.engine.step(ctx, "uploaded")
	return true, context.Cause(ctx)
}
