package deploy

import (
	"bytes"
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

const (
	// ReasonHeld: the chain is on hold. About: namespace, who holds it, or "".
	ReasonHeld fault.Reason = "chain-held"
	// ReasonImporting: the chain is on hold for an import that is under way, or was cut off.
	ReasonImporting fault.Reason = "chain-importing"
	// ReasonHeldByOther: the hold is another user's. About: that user, or "".
	ReasonHeldByOther fault.Reason = "chain-held-by-other"
)

// heldError says who holds the chain.
func (c *Chain) heldError(h *record.Hold) error { return HeldError(c.ns, h) }

// HeldError says who holds a chain: a fault.Conflict.
func HeldError(ns record.Namespace, h *record.Hold) error {
	err := &fault.Error{
		Kind: fault.Conflict, What: fmt.Sprintf("%s is on hold%s", ns, h), Reason: ReasonHeld,
		About: []string{string(ns), text.Printable(record.Shorten(h.User))},
	}
	if h.IsImport() {
		err.Reason, err.About = ReasonImporting, nil
	}
	return err
}

// Hold keeps the chain from going on, but by rollbacks. A hold that is there stays: fault.Conflict names it.
func (c *Chain) Hold(ctx context.Context, h *record.Hold) error {
	key := c.Key("hold")
	resp, err := c.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(c.holdPuts(h)...).Else(clientv3.OpGet(key)).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("hold %s: %w", c.ns, err)
	case !resp.Succeeded:
		found := resp.Responses[0].GetResponseRange().Kvs[0].Value
		if !bytes.Equal(found, h.Encode()) { // else etcd's client had asked twice
			return c.heldError(record.ParseHold(found))
		}
	}
	c.dropOldEvents(ctx)
	return nil
}

// holdPuts are what a hold puts: itself, and what is told of it later.
func (c *Chain) holdPuts(h *record.Hold) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpPut(c.Key("hold"), string(h.Encode())),
		c.putEvent(&record.Event{Kind: record.EventHold, User: h.User, Host: h.Host, Reason: h.Reason, Time: h.Since}),
	}
}

// Resume ends a hold, and gives it; nil if there was none. That of another user is ended only with force; without it
// the error is a fault.Refused.
func (c *Chain) Resume(ctx context.Context, by *record.Event, force bool) (*record.Hold, error) {
	key := c.Key("hold")
	for h := (*record.Hold)(nil); ; {
		found, err := c.kv.Get(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("resume %s: %w", c.ns, err)
		}
		if len(found.Kvs) == 0 {
			return h, nil // it is gone, by this perhaps: etcd's client may have asked twice
		}
		h = record.ParseHold(found.Kvs[0].Value)
		if h.User != by.User && !force {
			return nil, &fault.Error{
				Kind: fault.Refused, What: fmt.Sprintf("%s is on hold%s, and %s may resume only their own holds", c.ns, h,
					text.Printable(by.User)), Reason: ReasonHeldByOther, About: []string{h.User},
			}
		}
		resp, err := c.kv.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", found.Kvs[0].ModRevision)).
			Then(clientv3.OpDelete(key), c.putEvent(by)).Commit()
		if err != nil {
			return nil, fmt.Errorf("resume %s: %w", c.ns, err)
		}
		if resp.Succeeded {
			c.dropOldEvents(ctx)
			return h, nil
		} // it is another hold by now
	}
}

func (c *Chain) putEvent(e *record.Event) clientv3.Op {
	return clientv3.OpPut(c.Key(record.EventKey(time.Now())), string(e.Encode()))
}

// dropOldEvents keeps the last 1,000 events. What it cannot drop now it drops after the next event.
func (c *Chain) dropOldEvents(ctx context.Context) {
	prefix := c.Key(record.EventPrefix)
	resp, err := c.kv.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithLimit(record.MaxEvents),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err == nil && resp.Count > record.MaxEvents {
		_, err = c.kv.Delete(ctx, prefix, clientv3.WithRange(string(resp.Kvs[len(resp.Kvs)-1].Key)))
	}
	if err != nil {
		c.log.WarnContext(ctx, "drop old events", "error", err)
	}
}
