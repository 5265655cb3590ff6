package gc

import (
	"context"
	"errors"
	"slices"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

const (
	// holdTime is how long the lock is held at a time, and restTime how long it is left to others then.
	holdTime = 1500 * time.Millisecond
	restTime = 100 * time.Millisecond
	// lockWait is how long a push may keep gc waiting.
	lockWait = 10 * time.Minute
)

// errTooLong ends to catch up under the lock with what came since.
var errTooLong = errors.New("it takes too long under the lock")

// sweep deletes what is in order, a while at a time under the chain's lock.
func (c *collector) sweep(ctx context.Context) error {
	for {
		for len(c.order) > 0 && (c.order[0].marked || len(c.order[0].parts) == 0) {
			c.order = c.order[1:]
		}
		if len(c.order) == 0 {
			return nil
		}
		if err := c.catchUp(ctx); err != nil { // so that little is left to do under the lock
			return err
		}
		err := c.hold(ctx)
		if err != nil && !errors.Is(err, deploy.ErrLockLost) && !errors.Is(err, deploy.ErrOtherWriter) {
			return err
		}
		select {
		case <-time.After(restTime):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hold takes the lock and deletes for holdTime.
func (c *collector) hold(ctx context.Context) (err error) {
	lock, err := c.chain.Lock(ctx, c.cfg.Who, lockWait, func(who record.Holder, _ time.Duration) {
		c.tell("waiting for " + who.String() + ",")
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock(context.WithoutCancel(ctx))) }()
	end := time.Now().Add(holdTime)
	bounded, stop := context.WithDeadlineCause(ctx, end, errTooLong)
	defer stop()
	if err := c.catchUp(bounded); errors.Is(context.Cause(bounded), errTooLong) {
		return nil // the rest is caught up with without the lock
	} else if err != nil {
		return err
	}
	since := int64(-1)
	if c.mgmt {
		since = c.since
	}
	held, err := c.chain.Collect(ctx, lock, since)
	if err == nil && c.until > 0 {
		err = held.Expire(ctx, c.until)
	}
	for err == nil && len(c.order) > 0 && time.Now().Before(end) {
		err = c.deleteSome(ctx, held)
		c.tell("deleting")
	}
	return err
}

// deleteSome deletes as many keys as fit one txn.
func (c *collector) deleteSome(ctx context.Context, held *deploy.Collection) error {
	var some []*thing
	var keys []store.KeyValue
	bytes := int64(0)
	next := 0
	for ; next < len(c.order) && len(keys) < deploy.MaxDeletions; next++ {
		t := c.order[next]
		if t.marked {
			continue
		}
		if len(keys) > 0 && len(keys)+len(t.parts) > deploy.MaxDeletions {
			break // a node goes whole
		}
		some = append(some, t)
		for _, p := range t.parts[:min(len(t.parts), deploy.MaxDeletions)] {
			keys = append(keys, store.KeyValue{Key: p.key, Revision: p.revision})
			bytes += p.bytes
		}
	}
	if len(keys) == 0 {
		c.order = c.order[next:]
		return nil
	}
	changed, err := held.Delete(ctx, keys, bytes)
	switch {
	case err != nil:
		return err
	case len(changed) > 0:
		c.leave(some, changed)
		return nil
	}
	c.result.Keys, c.result.Bytes = c.result.Keys+len(keys), c.result.Bytes+bytes
	for _, t := range some {
		t.parts = t.parts[min(len(t.parts), deploy.MaxDeletions):]
	}
	if len(some[len(some)-1].parts) > 0 {
		next-- // a large content is not all gone
	}
	c.order = c.order[next:]
	return nil
}

// leave leaves things alone that were changed since they were listed. What another writer has put anew stays, with what
// it names; what another gc has deleted is no longer to be deleted.
func (c *collector) leave(some []*thing, changed map[string]int64) {
	for _, t := range some {
		isThere := false
		t.parts = slices.DeleteFunc(t.parts, func(p part) bool {
			now, ok := changed[p.key]
			isThere = isThere || ok && now != 0
			return ok && now == 0
		})
		if isThere {
			t.marked = true
			for _, dir := range t.dirs {
				c.spare(dir)
			}
			c.markContents(t.files)
		}
	}
}

// catchUp marks what came since: newer deploys, pins, what the rollout needs, and superblocks.
func (c *collector) catchUp(ctx context.Context) error {
	state, err := c.chain.State(ctx)
	if err != nil {
		return err
	}
	if err := c.readPins(ctx); err != nil {
		return err
	}
	switch head := state.Head; {
	case c.head > 0 && (head == nil || head.ID < c.head):
		return fault.Newf(fault.Conflict, "the chain was deleted meanwhile")
	case head != nil && head.ID > c.head:
		err := c.chain.Down(ctx, head.ID, func(d *record.Deploy) error {
			if d.ID <= c.head {
				return errMarked
			}
			return c.mark(ctx, d)
		})
		if err != nil && !errors.Is(err, errMarked) {
			return err
		}
		c.head = head.ID
	}
	kept := state.Rollout.Keeps()
	for id := range c.pins {
		kept = append(kept, id)
	}
	for _, id := range kept {
		if c.marked[id] {
			continue
		}
		d, err := c.chain.Get(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue // it is no deploy's
		case err != nil:
			return c.unsure(id, err)
		}
		if err := c.mark(ctx, d); err != nil {
			return err
		}
	}
	return c.catchUpBlocks(ctx)
}

// errMarked ends a walk down the chain.
var errMarked = errors.New("it is marked")

func (c *collector) catchUpBlocks(ctx context.Context) error {
	if !c.mgmt {
		return nil
	}
	some, at, err := c.chain.BlocksSince(ctx, c.since)
	if err != nil || !some {
		return err
	}
	_, _, prefix := c.chain.ContentPrefixes()
	if err := c.listBlocks(ctx, prefix); err != nil {
		return err
	}
	for key, t := range c.blocks {
		if t.revision() > c.since {
			if err := c.markBlock(ctx, key, t); err != nil {
				return err
			}
		}
	}
	c.since = at
	return nil
}
