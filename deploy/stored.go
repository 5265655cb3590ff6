package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// ReasonMaxStored: with the deploy its namespace would hold more than its limit. About: repository, target.
const ReasonMaxStored fault.Reason = "max-stored"

// checkLimit refuses a deploy with which its namespace would hold more than the job lets it. What the namespace holds
// is counted anew where that is not known, and where it decides: uploads that were cut off made it seem more than it
// is. Without a lock nothing is counted that takes long, and what is in doubt passes.
func (p *Prepared) checkLimit(ctx context.Context, quota int64) error {
	need, limit, isEmpty := p.need(), p.job.MaxStored.In(quota), p.Verdict.Head == nil
	var err error
	switch s := p.stored; {
	case need == 0:
		return nil
	case s == nil && isEmpty: // for a chain without a limit, too: it may get one
		err = p.count(ctx)
	case limit == 0:
		return nil
	case s == nil, s.Bytes+need > limit && s.Bytes-s.Unsure+need <= limit:
		if p.lock == nil {
			return nil
		}
		err = p.count(ctx)
	}
	if err != nil || limit == 0 || p.stored.Bytes+need <= limit {
		return err
	}
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("%s holds %s in etcd, and this adds %s; the limit is %s", p.chain.ns,
			text.Size(p.stored.Bytes), text.Size(need), p.job.MaxStored.Words(quota)),
		Reason: ReasonMaxStored, About: []string{p.job.Repository, p.job.Target},
	}
}

// count counts what the namespace holds. Under the lock the result is kept in etcd, so that the next push need not
// count again, refused or not.
func (p *Prepared) count(ctx context.Context) error {
	held, err := p.chain.countStored(ctx)
	if err != nil {
		return err
	}
	p.stored = &record.Stored{Bytes: held, Deploy: p.nextID() - 1}
	if held == 0 {
		p.plan.IsAlone()
		p.Summary = p.plan.Summary
		return nil
	}
	p.chain.log.InfoContext(ctx, "counted what is stored", "bytes", held)
	if p.lock == nil {
		return nil
	}
	w, err := p.newWriter(ctx)
	if err == nil {
		err = w.Put(p.chain.Key("stored"), p.stored.Encode())
	}
	if err == nil {
		err = w.Barrier()
	}
	if errors.Is(err, etcd.ErrCompare) || errors.Is(err, ErrLockLost) {
		return nil // Publish says so
	}
	return err
}

// countStored reads all that deploys have in the namespace, a few keys at a time, and gives the sum of its sizes.
func (c *Chain) countStored(ctx context.Context) (int64, error) {
	held := int64(0)
	err := c.Scan(ctx, "/", false, func(kv store.KeyValue) {
		if c.isCounted(kv.Key) {
			held += int64(len(kv.Value)) + KeyOverhead
		}
	})
	if err != nil {
		return 0, fmt.Errorf("count what %s holds: %w", c.ns, err)
	}
	return held, nil
}

// isCounted tells the keys that deploys bring from refship's few own, such as the lock.
func (c *Chain) isCounted(key string) bool {
	name, isOwn := strings.CutPrefix(key, c.Key(""))
	return !isOwn || strings.HasPrefix(name, "tree/") || strings.HasPrefix(name, "object/")
}

// newWriter makes a writer that writes only as long as the lock is held: what another holder counts is all there is.
func (p *Prepared) newWriter(ctx context.Context) (*etcd.Writer, error) {
	if p.lock.revision == 0 {
		return nil, ErrLockLost
	}
	held := clientv3.Compare(clientv3.CreateRevision(p.chain.Key("lock")), "=", p.lock.revision)
	return etcd.NewWriter(ctx, p.chain.kv, held), nil
}

// countUpload counts what the upload brings, before it does: whatever becomes of the push, no less is counted than is
// there. unsure says that some of it may not come to be there.
func (p *Prepared) countUpload(w *etcd.Writer, unsure bool) error {
	p.Summary = p.plan.Summary // it is exact, once all was read
	if p.stored == nil || p.Keys == 0 && !p.counted {
		return nil
	}
	p.counted = true
	s := *p.stored
	s.Bytes += p.need()
	if unsure {
		s.Unsure += p.need()
	}
	return w.Put(p.chain.Key("stored"), s.Encode())
}

// countPublish is the put that counts what the upload has brought and what publishing puts.
func (p *Prepared) countPublish(puts []clientv3.Op) []clientv3.Op {
	if p.stored == nil {
		return nil
	}
	s := *p.stored
	s.Bytes += p.need() - int64(len(p.plan.Payload)) // which is in both
	for _, op := range puts {
		if op.IsPut() && p.chain.isCounted(string(op.KeyBytes())) {
			s.Bytes += int64(len(op.ValueBytes())) + KeyOverhead
		}
	}
	s.Deploy = p.nextID()
	return []clientv3.Op{clientv3.OpPut(p.chain.Key("stored"), string(s.Encode()))}
}
