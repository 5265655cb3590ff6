package deploy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/plan"
	"refship/deploy/record"
	"refship/deploy/text"
)

// MayBeSmall tells whether PrepareSmall may be asked. A job's verdict must be new: what is not in etcd, such as whose
// signatures count, is not compared again.
func (v *Verdict) MayBeSmall(job *Job) bool {
	return v.isPlain() && job.To == nil && !job.Force && !job.mgmtHas(v.Head)
}

// PrepareSmall prepares what LockAndUpload stores in one txn, before the lock is taken. v is the job's verdict, which
// may be small. nil: the lock has to come first, and Prepare. Of what was read nothing is kept then.
//
// Without the lock gc may delete what no deploy needs. So the txn compares that the head is the same, whose contents gc
// keeps, and that whatever else etcd has of the deploy is still there.
func (c *Chain) PrepareSmall(
	ctx context.Context, v *Verdict, job *Job, progress func(text.Progress),
) (*Prepared, error) {
	p := c.newPrepared(v, job)
	task := p.task()
	task.Small = true
	var err error
	switch p.plan, err = plan.Make(ctx, task, progress); {
	case errors.Is(err, plan.ErrNotSmall), fault.Is(err, fault.Corrupt): // gc may be at what the head had until now
		return nil, nil
	case err != nil:
		return nil, job.explain(err)
	}
	p.Summary = p.plan.Summary
	return p, nil
}

// isPlain tells whether all that a deploy needs to know of its chain is known, and will be compared: nothing of it is
// to be counted or made good first.
func (v *Verdict) isPlain() bool {
	return !v.Idle() && v.Head != nil && v.Forced == nil && v.stored != nil && v.stored.Unsure == 0 &&
		!v.log.isWiped && len(v.log.append) == 0
}

// LockAndUpload takes the chain's lock and stores what PrepareSmall has read, in one txn, if the chain is as the
// verdict found it. nil: it is not, or another has the lock; nothing was written, and the lock has to come first.
func (p *Prepared) LockAndUpload(ctx context.Context, who record.Holder) (*Lock, error) {
	c := p.chain
	l, err := c.newLock(who, time.Now())
	if err != nil {
		return nil, err
	}
	if l.lease, err = c.locker.lease(ctx); err == nil {
		err = p.uploadWith(ctx, l)
	}
	switch {
	case err == nil:
		p.lock, p.uploaded = l, true
		return l, nil
	case errors.Is(err, etcd.ErrCompare):
		err = nil
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		c.locker.abandon(l.lease)
		err = nil
	default:
		err = fmt.Errorf("store in %s: %w", c.ns, err)
	}
	l.markFree()
	return nil, err
}

// uploadWith uploads in the txn that puts the lock.
func (p *Prepared) uploadWith(ctx context.Context, l *Lock) error {
	ifs := append(p.Verdict.unchanged(p.chain),
		clientv3.Compare(clientv3.ModRevision(p.chain.Key("stored")), "=", p.Verdict.storedAt))
	for _, key := range p.plan.There {
		ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(key), ">", 0))
	}
	commit := func(ctx context.Context, puts []clientv3.Op) error {
		_, err := l.put(ctx, &change{ifs, puts})
		if err == nil && l.revision == 0 {
			err = etcd.ErrCompare
		}
		return err
	}
	// Breaking it off would not tell whether the lock was taken: it is bounded by itself.
	ctx = context.WithoutCancel(ctx)
	if p.Keys == 0 {
		return commit(ctx, nil) // a Writer commits nothing of nothing
	}
	w := etcd.NewWriterBy(ctx, commit)
	return p.plan.Put(ctx, w, func(unsure bool) error { return p.countUpload(w, unsure) }, func(text.Progress) {})
}
