package deploy

import (
	"bytes"
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/record"
)

// rolloutOps put the rollout of what is published, or take that of the deploy before away.
func (p *Prepared) rolloutOps(d *record.Deploy) []clientv3.Op {
	key, was, rings := p.chain.Key(record.RolloutKey), p.Verdict.rollout, p.job.Rings
	if p.job.Target == "" && was != nil { // no target says anything of rings
		if was.Broken {
			return nil
		}
		rings = was.Settings()
	}
	p.Rollout = was.Follow(d, rings, p.Verdict.Head)
	switch {
	case p.Rollout != nil:
		return []clientv3.Op{clientv3.OpPut(key, string(p.Rollout.Encode()))}
	case p.Verdict.rolloutAt != 0:
		return []clientv3.Op{clientv3.OpDelete(key)}
	}
	return nil
}

// Advance replaces the rollout of a chain, nil where there is none, by a later one. So do only if the chain's state is
// as it was read, the chain is not held, and what more asks for is so. It tells whether that was the case.
func (c *Chain) Advance(ctx context.Context, was *record.State, next *record.Rollout, more ...clientv3.Cmp) (bool, error) {
	return c.advance(ctx, was, next, nil, more)
}

func (c *Chain) advance(
	ctx context.Context, was *record.State, next *record.Rollout, puts []clientv3.Op, more []clientv3.Cmp,
) (bool, error) {
	key, value := c.Key(record.RolloutKey), next.Encode()
	ifs := append(more,
		clientv3.Compare(clientv3.ModRevision(key), "=", was.RolloutAt),
		clientv3.Compare(clientv3.CreateRevision(c.Key("hold")), "=", 0),
		clientv3.Compare(clientv3.ModRevision(c.DeployKey(was.Head.ID, record.KeyRecord)), "=",
			was.Head.Revisions[record.KeyRecord]),
		clientv3.Compare(clientv3.CreateRevision(c.DeployKey(was.Head.ID+1, record.KeyRecord)), "=", 0),
	)
	resp, err := c.kv.Txn(ctx).If(ifs...).Then(append(puts, clientv3.OpPut(key, string(value)))...).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return false, fmt.Errorf("advance the rollout of %s: %w", c.ns, err)
	}
	if resp.Succeeded {
		return true, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs
	return len(found) > 0 && bytes.Equal(found[0].Value, value), nil // it was: etcd's client had asked twice
}

// Promotion is what Promote has done.
type Promotion struct {
	Rollout *record.Rollout // nil: there is none
	Ring    string          // that was released; "": none was left
}

// Promote releases the next ring of the head's rollout, whatever the nodes of the rings before do. by is told of later;
// it gets its kind and its reason here. A chain that is held is a fault.Conflict.
func (c *Chain) Promote(ctx context.Context, by record.Event) (Promotion, error) {
	for {
		state, err := c.State(ctx)
		switch {
		case err != nil:
			return Promotion{}, err
		case state.Hold != nil:
			return Promotion{}, c.heldError(state.Hold)
		case state.RolloutAt != 0 && state.Rollout.Broken:
			return Promotion{}, record.Corrupt(c.Key(record.RolloutKey), "it is no rollout")
		case !state.Rollout.IsOf(state.Head):
			return Promotion{}, nil
		case state.Rollout.ToAll():
			return Promotion{Rollout: state.Rollout}, nil
		}
		next := state.Rollout.Release(by.Time)
		ring := next.Rings[next.Released-1]
		by.Kind, by.Reason = record.EventPromote, fmt.Sprintf("deploy %d to the ring %s", next.ID, ring)
		done, err := c.advance(ctx, state, next, []clientv3.Op{c.putEvent(&by)}, nil)
		if err != nil {
			return Promotion{}, err
		}
		if done {
			c.dropOldEvents(ctx)
			return Promotion{Rollout: next, Ring: ring}, nil
		} // it is another state by now
	}
}
