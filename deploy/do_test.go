package deploy

import (
	"context"
	"errors"
	"time"

	"refship/deploy/record"
	"refship/deploy/text"
)

// Do is the whole way for a job, as package hooks goes it with its own say in between: check, lock, prepare, upload,
// publish, and again if the lock was lost on the way. The lock is waited for up to wait. already says that nothing was
// written, since the head, which is returned, was this very deploy (Verdict.Already) or, with another commit, has the
// same below the job's path (Same).
func (c *Chain) Do(ctx context.Context, who record.Holder, job *Job, wait time.Duration, progress func(text.Progress)) (
	d *record.Deploy, already bool, err error) {
	const tries = 3
	for range tries {
		if d, already, err = c.do(ctx, who, job, wait, progress); !errors.Is(err, ErrLockLost) {
			break
		}
	}
	return d, already, err
}

func (c *Chain) do(ctx context.Context, who record.Holder, job *Job, wait time.Duration, progress func(text.Progress)) (
	*record.Deploy, bool, error) {
	v, err := c.Check(ctx, job)
	if err != nil {
		return nil, false, err
	}
	if v.Idle() {
		return v.Head, true, nil
	}
	if d, err := c.doSmall(ctx, who, v, job, progress); d != nil || err != nil {
		return d, false, err
	}
	lock, err := c.Lock(ctx, who, wait, func(record.Holder, time.Duration) {})
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = lock.Unlock(context.WithoutCancel(ctx)) }() // published or not: at worst the lease ends it
	p, err := c.Prepare(ctx, lock, job, progress)
	if err != nil {
		return nil, false, err
	}
	defer p.Drop()
	if p.Verdict.Idle() {
		return p.Verdict.Head, true, nil
	}
	give, err := (&Store{client: c.client}).TakeRoom(ctx, []*Prepared{p})
	if err != nil {
		return nil, false, err
	}
	defer give()
	if err := p.Upload(ctx, progress); err != nil {
		return nil, false, err
	}
	d, err := p.Publish(ctx)
	return d, false, err
}

// doSmall is do of a small deploy; nil: it is none.
func (c *Chain) doSmall(ctx context.Context, who record.Holder, v *Verdict, job *Job, progress func(text.Progress)) (
	*record.Deploy, error) {
	if !v.MayBeSmall(job) {
		return nil, nil
	}
	p, err := c.PrepareSmall(ctx, v, job, progress)
	if err != nil || p == nil {
		return nil, err
	}
	defer p.Drop()
	give, err := (&Store{client: c.client}).TakeRoom(ctx, []*Prepared{p})
	if err != nil {
		return nil, err
	}
	defer give()
	lock, err := p.LockAndUpload(ctx, who)
	if err != nil || lock == nil {
		return nil, err
	}
	defer func() { _ = lock.Unlock(context.WithoutCancel(ctx)) }()
	return p.Publish(ctx)
}
