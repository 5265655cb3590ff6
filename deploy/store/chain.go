package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// ErrNotFound: the chain has no deploy of that id.
var ErrNotFound = errors.New("no such deploy")

// Chain reads the chain of one namespace.
type Chain struct {
	kv clientv3.KV // with a bound on how long one request may take
	ns record.Namespace
}

// Open gives what reads the chain of a namespace; it asks etcd nothing yet. kv bounds how long a request may take.
func Open(kv clientv3.KV, ns record.Namespace) *Chain { return &Chain{kv: kv, ns: ns} }

// Namespace is the chain's namespace.
func (c *Chain) Namespace() record.Namespace { return c.ns }

func (c *Chain) DeployKey(id record.ID, which int) string {
	return fmt.Sprintf("%s/deploy/%d/%s", c.ns, id, record.KeyNames[which])
}

// Key gives a key of refship's own below the namespace.
func (c *Chain) Key(name string) string { return string(c.ns) + "/refship/" + name }

// maxProbes is how many ids one txn asks for: two operations each.
const maxProbes = etcd.MaxOps / 2

// deploysPerTxn is how many deploys one txn reads.
const deploysPerTxn = etcd.MaxOps / record.NumKeys

// Head reads the deploy with the highest id; nil if there is none yet. It costs two requests while the hint at
// NS/refship/head is right, and a few more, by doubling steps, when another writer is ahead of it.
func (c *Chain) Head(ctx context.Context) (*record.Deploy, error) {
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	return state.Head, nil
}

// headAt finds the head at a revision, knowing that it may be low.
func (c *Chain) headAt(ctx context.Context, rev int64, low record.ID) (*record.Deploy, error) {
	for {
		head, next, err := c.top(ctx, low, rev)
		switch {
		case err != nil:
			return nil, err
		case next:
			if low, err = c.gallop(ctx, rev, low+1); err != nil {
				return nil, err
			}
		case head == nil && low > 0: // a hint beyond the chain
			low = 0
		default:
			return head, nil
		}
	}
}

// top reads deploy low (nil if it is not there; there is no deploy 0) and tells whether the next one exists.
func (c *Chain) top(ctx context.Context, low record.ID, rev int64) (d *record.Deploy, next bool, err error) {
	ops := c.readOps(nil, low, rev)
	for which := range record.KeyNames {
		ops = append(ops, clientv3.OpGet(c.DeployKey(low+1, which), clientv3.WithCountOnly(), clientv3.WithRev(rev)))
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, false, fmt.Errorf("read head of %s: %w", c.ns, etcd.Classify(err))
	}
	var above [record.NumKeys]bool
	for which := range record.KeyNames {
		above[which] = resp.Responses[record.NumKeys+which].GetResponseRange().Count > 0
	}
	if next = above[record.KeyRecord] || above[record.KeyPayload]; next {
		return nil, true, nil
	}
	if low > 0 {
		if d, err = c.take(low, resp.Responses); d == nil || err != nil {
			return nil, false, err
		}
	}
	for which := range record.KeyNames {
		if above[which] {
			return nil, false, record.Corrupt(c.DeployKey(low+1, which), "it is there without the deploy's record")
		}
	}
	return d, false, nil
}

// gallop finds the highest id, knowing that low exists: low+1, low+2, low+4 … until one is missing, then halves.
func (c *Chain) gallop(ctx context.Context, rev int64, low record.ID) (record.ID, error) {
	var ids []record.ID
	for step := record.ID(1); len(ids) < maxProbes-1 && low+step > low; step *= 2 {
		ids = append(ids, low+step)
	}
	there, err := c.probe(ctx, rev, ids)
	if err != nil {
		return 0, err
	}
	high := low + 1 // missing, in the end
	for i, id := range ids {
		if !there[i] {
			high = id
			break
		}
		low = id
	}
	for low+1 < high {
		middle := low + (high-low)/2
		there, err := c.probe(ctx, rev, []record.ID{middle})
		if err != nil {
			return 0, err
		}
		if there[0] {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// probe tells which deploys exist at a revision.
func (c *Chain) probe(ctx context.Context, rev int64, ids []record.ID) ([]bool, error) {
	ops := make([]clientv3.Op, 0, 2*len(ids))
	for _, id := range ids {
		for _, which := range []int{record.KeyRecord, record.KeyPayload} {
			ops = append(ops, clientv3.OpGet(c.DeployKey(id, which), clientv3.WithCountOnly(), clientv3.WithRev(rev)))
		}
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read head of %s: %w", c.ns, etcd.Classify(err))
	}
	there := make([]bool, len(ids))
	for i := range ids {
		there[i] = resp.Responses[2*i].GetResponseRange().Count+resp.Responses[2*i+1].GetResponseRange().Count > 0
	}
	return there, nil
}

// Get reads one deploy; ErrNotFound if the chain has none of that id.
func (c *Chain) Get(ctx context.Context, id record.ID) (*record.Deploy, error) {
	deploys, err := c.read(ctx, []record.ID{id}, 0)
	if err != nil {
		return nil, err
	}
	if deploys[0] == nil {
		return nil, fmt.Errorf("read deploy %d of %s: %w", id, c.ns, ErrNotFound)
	}
	return deploys[0], nil
}

// Log calls fn for each deploy from the newest down, for at most limit of them (0: all).
func (c *Chain) Log(ctx context.Context, limit int, fn func(*record.Deploy) error) error {
	head, err := c.Head(ctx)
	if err != nil || head == nil {
		return err
	}
	left := int(head.ID)
	if limit > 0 {
		left = min(left, limit)
	}
	for next := head.ID; left > 0; {
		var ids []record.ID
		for ; left > 0 && len(ids) < deploysPerTxn; left-- {
			ids = append(ids, next)
			next--
		}
		deploys, err := c.read(ctx, ids, 0)
		for i, d := range deploys {
			if d == nil {
				return c.gapError(ids[i])
			}
			if err := fn(d); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read gets deploys in one txn at a revision (0: now); nil for one that is not there. If one is corrupt, those before it
// come with the error.
func (c *Chain) read(ctx context.Context, ids []record.ID, rev int64) ([]*record.Deploy, error) {
	ops := make([]clientv3.Op, 0, record.NumKeys*len(ids))
	for _, id := range ids {
		ops = c.readOps(ops, id, rev)
	}
	resp, err := c.kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read deploys of %s: %w", c.ns, etcd.Classify(err))
	}
	deploys := make([]*record.Deploy, len(ids))
	for i, id := range ids {
		if deploys[i], err = c.take(id, resp.Responses[i*record.NumKeys:]); err != nil {
			return deploys[:i], err
		}
	}
	return deploys, nil
}

// readOps appends what reads one deploy; take reads the answers.
func (c *Chain) readOps(ops []clientv3.Op, id record.ID, rev int64) []clientv3.Op {
	for which := range record.KeyNames {
		opts := []clientv3.OpOption{clientv3.WithRev(rev)}
		if which == record.KeyPayload {
			opts = append(opts, clientv3.WithKeysOnly()) // it may be large, and only its revision is of use
		}
		ops = append(ops, clientv3.OpGet(c.DeployKey(id, which), opts...))
	}
	return ops
}

// take makes a deploy of the answers to readOps; nil if there is none.
func (c *Chain) take(id record.ID, answers []*etcdserverpb.ResponseOp) (*record.Deploy, error) {
	d := &record.Deploy{ID: id}
	for which := range record.KeyNames {
		kvs := answers[which].GetResponseRange().Kvs
		if len(kvs) == 0 {
			continue
		}
		d.Revisions[which] = kvs[0].ModRevision
		switch which {
		case record.KeyHash:
			d.Hash = record.Hash(kvs[0].Value)
		case record.KeyRecord:
			d.RecordBytes = kvs[0].Value
		case record.KeySignature:
			d.Signature = kvs[0].Value
		}
	}
	switch {
	case d.Revisions[record.KeyRecord] != 0:
		if err := d.Decode(func(which int) string { return c.DeployKey(id, which) }); err != nil {
			return nil, err
		}
		return d, nil
	case d.Revisions[record.KeySignature] != 0:
		return nil, record.Corrupt(c.DeployKey(id, record.KeyRecord), "the record is missing, its signature is there")
	case d.Revisions[record.KeyPayload] != 0:
		if _, err := record.ParseHash(string(d.Hash)); err != nil {
			d.Hash = "" // another writer's, and none that could be compared
		}
		return d, nil
	case d.Revisions[record.KeyHash] != 0:
		return nil, record.Corrupt(c.DeployKey(id, record.KeyHash), "it is there without the deploy's record")
	}
	return nil, nil
}

// NewestRecord gives the newest deploy with a record at or below d, nil if there is none: foreign deploys have none.
func (c *Chain) NewestRecord(ctx context.Context, d *record.Deploy) (*record.Deploy, error) {
	if d == nil || d.Record != nil {
		return d, nil
	}
	for next := d.ID - 1; next > 0; {
		var ids []record.ID
		for ; next > 0 && len(ids) < deploysPerTxn; next-- {
			ids = append(ids, next)
		}
		deploys, err := c.read(ctx, ids, 0)
		if err != nil {
			return nil, err
		}
		for i, d := range deploys {
			if d == nil {
				return nil, c.gapError(ids[i])
			}
			if d.Record != nil {
				return d, nil
			}
		}
	}
	return nil, nil
}

func (c *Chain) gapError(id record.ID) error {
	return record.Corrupt(c.DeployKey(id, record.KeyRecord), "the deploy is missing, a later one is there")
}
