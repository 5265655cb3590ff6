package deploy

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/etcd"
	"refship/deploy/text"
)

// Upload writes what etcd lacks, bottom-up: see package plan. What the namespace holds is counted before it holds it.
// It may be called again after an error; when it has succeeded, nothing of what it wrote stays in memory. ErrLockLost
// says that the upload stopped there, and that Publish would say the same.
func (p *Prepared) Upload(ctx context.Context, progress func(text.Progress)) error {
	if p.lock == nil {
		return errNoLock("store", p.chain)
	}
	switch {
	case p.uploaded:
		return nil
	case p.dropped:
		return fmt.Errorf("store in %s: what was read is dropped", p.chain.ns)
	}
	w, err := p.newWriter(ctx)
	if err == nil {
		err = p.plan.Put(ctx, w, func(unsure bool) error { return p.countUpload(w, unsure) }, progress)
	}
	p.Summary = p.plan.Summary
	if err == nil {
		err = p.appendLog(ctx)
	}
	if errors.Is(err, etcd.ErrCompare) {
		err = ErrLockLost
	}
	if err != nil {
		return fmt.Errorf("store in %s: %w", p.chain.ns, err)
	}
	p.uploaded = true
	return nil
}

// Drop forgets what was read, so that others have the memory. It must be called if Upload is not, or fails for good,
// and may be called at any time.
func (p *Prepared) Drop() {
	p.dropped = true
	if p.plan != nil {
		p.plan.Drop()
	}
}
