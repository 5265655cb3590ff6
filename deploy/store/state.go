package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// marks are what stands beside the deploys.
type marks struct {
	revision int64     // that they were read at
	hint     record.ID // where the head may be; 0: no idea
	hold     *record.Hold
	lock     *record.Holder
}

// maxCompacted is how often a revision may be gone between two requests: etcd compacts a few times an hour.
const maxCompacted = 10

// State reads head, hold and lock: the marks and then the head at their revision.
func (c *Chain) State(ctx context.Context) (*record.State, error) {
	for try := 1; ; try++ {
		m, err := c.marks(ctx)
		if err != nil {
			return nil, err
		}
		head, err := c.headAt(ctx, m.revision, m.hint)
		switch {
		case err == nil:
			return &record.State{Head: head, Hold: m.hold, Lock: m.lock}, nil
		case !errors.Is(err, rpctypes.ErrCompacted) || try == maxCompacted:
			return nil, err
		} // the revision that the first answer named is gone already: ask again
	}
}

func (c *Chain) marks(ctx context.Context) (*marks, error) {
	resp, err := c.kv.Txn(ctx).Then(clientv3.OpGet(c.Key("head")), clientv3.OpGet(c.Key("hold")), clientv3.OpGet(c.Key("lock"))).Commit()
	if err != nil {
		return nil, fmt.Errorf("read head of %s: %w", c.ns, etcd.Classify(err))
	}
	at := func(i int) *mvccpb.KeyValue {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) == 1 {
			return kvs[0]
		}
		return nil
	}
	m := &marks{revision: resp.Header.Revision}
	if hint := at(0); hint != nil {
		n, _ := strconv.ParseUint(string(hint.Value), 10, 64) // an unreadable hint is no hint
		m.hint = record.ID(n)
	}
	if hold := at(1); hold != nil {
		m.hold = record.ParseHold(hold.Value)
	}
	if lock := at(2); lock != nil {
		m.lock = record.ParseHolder(lock.Value)
	}
	return m, nil
}
