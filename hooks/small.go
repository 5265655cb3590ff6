package hooks

import (
	"context"

	"refship/deploy"
	"refship/deploy/text"
	"refship/hooks/report"
)

// small prepares a single small delivery, whose lock is taken by the txn that stores it. false: nothing was written, and
// the lock comes first: as it does where others have all turns, since who waits for a turn waits with the lock.
func (r *run) small(ctx context.Context) (done bool, err error) {
	open := r.open()
	if len(open) != 1 || r.engine.loading.IsFull() {
		return false, nil
	}
	err = r.inTurn(ctx, func(ctx context.Context) error {
		done, err = r.loadSmall(ctx, open[0])
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
	if r.giveRoom, err = r.engine.cfg.Store.TakeRoom(ctx, []*deploy.Prepared{p}); err != nil {
		return false, err
	}
	r.engine.step(ctx, "prepared")
	r.phase(report.Storing, d)
	lock, err := p.LockAndUpload(ctx, r.engine.holder(d.job))
	if err != nil || lock == nil {
		return false, err
	}
	d.lock, d.prepared, d.read = lock, p, p
	r.tellAmounts(d)
	r.cost.stored += p.NewBytes
	r.engine.step(ctx, "locked")
	r.engine.step(ctx, "uploaded")
	return true, context.Cause(ctx)
}
