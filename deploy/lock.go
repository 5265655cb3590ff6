package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
)

// Lock is a held chain lock.
type Lock struct {
	chain    *Chain
	lease    clientv3.LeaseID
	value    []byte
	revision int64 // the lock key's create revision; 0 while it is not held
	stray    bool  // a put of it may be applied later, or was, unknown to us
}

// Lock takes the chain's lock and waits for it up to wait, then gives a fault.Conflict. waiting is called as soon as
// the lock turns out to be held by another, and about once a second from then on.
func (c *Chain) Lock(
	ctx context.Context, who record.Holder, wait time.Duration, waiting func(record.Holder, time.Duration),
) (*Lock, error) {
	start := time.Now()
	l, err := c.newLock(who, start)
	if err != nil {
		return nil, err
	}
	if err := l.acquire(ctx, start, wait, waiting); err != nil {
		l.markFree()
		return nil, err
	}
	return l, nil
}

// newLock makes a lock that is not held yet, but owned: markFree gives it up.
func (c *Chain) newLock(who record.Holder, since time.Time) (*Lock, error) {
	who.Since = since.UTC()
	value, err := json.Marshal(who)
	if err != nil {
		return nil, fmt.Errorf("encode lock: %w", err)
	}
	c.locker.own(c.ns, value)
	return &Lock{chain: c, value: value}, nil
}

// Held compares that the lock is held, for txns of others than the chain.
func (l *Lock) Held() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(l.chain.Key("lock")), "=", l.revision)
}

// Unlock gives the lock back; nothing happens if it was given back or lost before. Even if etcd cannot be told, this
// process no longer uses the lock: it removes it when it next comes across it, and lets the lease run out.
func (l *Lock) Unlock(ctx context.Context) error {
	if l.revision == 0 {
		return nil
	}
	revision := l.revision
	l.markFree()
	if err := l.chain.deleteLock(ctx, revision); err != nil {
		l.chain.locker.abandon(l.lease)
		return fmt.Errorf("unlock %s: %w", l.chain.ns, err)
	}
	return nil
}

// markFree notes that the lock is no longer held. A stray put of it finds its compare true again, as the lock is
// free: it cannot be told from a new one, and would leave a lock that is never given back. So its lease is abandoned
// with it; to revoke that at once would take the locks of other pushes away, which have the time until it runs out
// this way.
func (l *Lock) markFree() {
	l.revision = 0
	l.chain.locker.disown(l.chain.ns, l.value)
	if l.stray {
		l.chain.locker.abandon(l.lease)
	}
}

// deleteLock deletes a lock by its create revision.
func (c *Chain) deleteLock(ctx context.Context, revision int64) error {
	key := c.Key("lock")
	_, err := c.kv.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", revision)).
		Then(clientv3.OpDelete(key)).Commit()
	return err
}

// acquire puts the lock, and waits for that while another holds it.
func (l *Lock) acquire(
	ctx context.Context, start time.Time, wait time.Duration, waiting func(record.Holder, time.Duration),
) (err error) {
	c := l.chain
	for {
		if l.lease, err = c.locker.lease(ctx); err != nil {
			return err
		}
		// Breaking a put off would not tell whether the lock was taken: it is bounded by itself.
		held, err := l.put(context.WithoutCancel(ctx), new(change))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			c.locker.abandon(l.lease)
			continue
		}
		if err != nil {
			return fmt.Errorf("lock %s: %w", c.ns, err)
		}
		if l.revision != 0 {
			return nil
		}
		if c.locker.isLeftOver(c.ns, held) {
			// A put whose answer was lost, or an unlock that did not reach etcd: no other process could remove it.
			if err := c.deleteLock(ctx, held.CreateRevision); err != nil {
				return fmt.Errorf("lock %s: %w", c.ns, err)
			}
			continue
		}
		holder := *record.ParseHolder(held.Value)
		if !c.awaitUnlock(ctx, held, start.Add(wait), func() { waiting(holder, time.Since(start)) }) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return lockedError(c.ns, holder, time.Since(start))
		}
	}
}

// lockedError says that another kept the chain's lock for longer than the caller would wait.
func lockedError(ns record.Namespace, holder record.Holder, waited time.Duration) error {
	return fault.New(fault.Conflict,
		fmt.Sprintf("%s is locked by %s; waited %s", ns, holder, waited.Round(time.Second)),
		"try again when that deploy is done; the lock of a server that died goes away by itself within a minute")
}

// put puts the lock if it is free, and makes a change in the same txn, which can be made once only. If it is not, the
// key as another holds it is given; if it is free and not put, the change's compares have failed.
func (l *Lock) put(ctx context.Context, with *change) (held *mvccpb.KeyValue, err error) {
	key, tries := l.chain.Key("lock"), 0
	ifs := append([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}, with.ifs...)
	puts := append([]clientv3.Op{clientv3.OpPut(key, string(l.value), clientv3.WithLease(l.lease))}, with.puts...)
	resp, err := l.chain.kv.Txn(etcd.CountTries(ctx, &tries)).If(ifs...).Then(puts...).Else(clientv3.OpGet(key)).Commit()
	l.stray = l.stray || tries > 1
	if err != nil {
		l.stray = l.stray || !l.isNeverPut(ctx, err)
		return nil, err
	}
	if resp.Succeeded {
		l.taken(resp.Header.Revision, with)
		return nil, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs
	if len(found) == 0 {
		return nil, nil
	}
	held = found[0]
	if held.Lease == int64(l.lease) && bytes.Equal(held.Value, l.value) {
		l.taken(held.CreateRevision, with) // an earlier try of this very call, whose answer was lost
		return nil, nil
	}
	return held, nil
}

// taken notes that the lock is held. No other try of the put can be applied later if the change has puts: its compares
// are of what these change.
func (l *Lock) taken(revision int64, with *change) {
	l.revision = revision
	l.stray = l.stray && len(with.puts) == 0
}

// isNeverPut tells whether a put that failed did not put the lock, nor ever will: the lease that all of this process's
// locks hang on must not go for what etcd refuses one chain.
func (l *Lock) isNeverPut(ctx context.Context, err error) bool {
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound), errors.Is(err, etcd.ErrDenied): // asked before anything is done
		return true
	case errors.Is(err, etcd.ErrFull): // the quota is asked after, and a delete needs none
		key := l.chain.Key("lock")
		_, err := l.chain.kv.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", string(l.value)),
			clientv3.Compare(clientv3.LeaseValue(key), "=", l.lease)).Then(clientv3.OpDelete(key)).Commit()
		return err == nil
	}
	return false
}

// watchPause is how long a waiter whose watch broke waits before it looks again.
const watchPause = 200 * time.Millisecond

// awaitUnlock waits until the lock that was seen is deleted; false if the deadline passes or ctx ends before.
func (c *Chain) awaitUnlock(ctx context.Context, held *mvccpb.KeyValue, deadline time.Time, waiting func()) bool {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	deleted := c.client.Watch(clientv3.WithRequireLeader(ctx), string(held.Key), clientv3.WithRev(held.ModRevision+1))
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var retry <-chan time.Time
	for waiting(); ; {
		select {
		case resp, ok := <-deleted: // deleted, or the watch is broken: either way, try again
			if !ok || resp.Err() != nil {
				deleted = nil
				retry = time.After(watchPause)
				continue
			}
			return ctx.Err() == nil
		case <-retry:
			return true
		case <-second.C:
			waiting()
		case <-ctx.Done():
			return false
		}
	}
}

// BreakDeadLock removes a lock whose holder is known to be dead, without waiting for its lease to run out, and tells
// whether it did. A server that has its data directory to itself knows that of its own earlier process, and a process
// of others on its machine. A lock that cannot be read is left.
func (c *Chain) BreakDeadLock(ctx context.Context, isDead func(record.Holder) bool) (bool, error) {
	key := c.Key("lock")
	resp, err := c.kv.Get(ctx, key)
	if err != nil {
		return false, fmt.Errorf("read lock of %s: %w", c.ns, err)
	}
	var holder record.Holder
	if len(resp.Kvs) == 0 || json.Unmarshal(resp.Kvs[0].Value, &holder) != nil || !isDead(holder) {
		return false, nil
	}
	if err := c.deleteLock(ctx, resp.Kvs[0].CreateRevision); err != nil {
		return false, fmt.Errorf("unlock %s: %w", c.ns, err)
	}
	return true, nil
}
