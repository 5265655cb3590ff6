package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// lock takes the fixture's chain's lock for a Store.
func (f *setup) lock(s *deploy.Store, wait time.Duration) (*deploy.Lock, error) {
	f.Helper()
	return s.Chain(f.chain.Namespace()).Lock(f.Context(), holder, wait, noWait)
}

func TestLockTimesOutAndNamesTheHolder(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	other := holder
	other.User, other.Ref = "bob\x1b", "refs/heads/fix"
	lock, err := f.chain.Lock(t.Context(), other, 0, noWait)
	if err != nil {
		t.Fatal(err)
	}
	waiter := f.newStore().Chain(namespace)
	var told []time.Duration
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	_, err = waiter.Lock(ctx, holder, time.Hour, func(h record.Holder, d time.Duration) {
		if h.User != other.User || h.Since.IsZero() {
			t.Errorf("waiting for %+v", h)
		}
		if told = append(told, d); len(told) == 4 {
			enough()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for i, after := range told { // a busy machine may be late
		if after < time.Duration(i)*time.Second || after > time.Minute {
			t.Errorf("told to wait after %v, want at once and then once a second", told)
		}
	}
	_, err = waiter.Lock(t.Context(), holder, 100*time.Millisecond, noWait)
	fixture.WantFault(t, fault.Conflict, err,
		`/refship/config is locked by bob\x1b (refs/heads/fix of config, on host) since 20`, "try again")
	for range 2 { // twice is as good as once
		if err := lock.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if f.dump()[own+"lock"] != "" {
		t.Error("the lock is still there")
	}
}

func TestLockComesWhenItIsGivenBack(t *testing.T) {
	f := newSetup(t)
	first, err := f.lock(f.store, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The same process may wait for itself: two pushes at once.
	second, err := f.chain.Lock(t.Context(), holder, time.Minute, func(record.Holder, time.Duration) {
		if err := first.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Unlock(t.Context()); err != nil { // does not take the second's away
		t.Error(err)
	}
	if f.dump()[own+"lock"] == "" {
		t.Error("the second lock is gone")
	}
	if err := second.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLockWaitEndsWithTheContext(t *testing.T) {
	f := newSetup(t)
	f.put(own+"lock", "not JSON")
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the pusher is gone")
	_, err := f.chain.Lock(ctx, holder, time.Minute, func(h record.Holder, _ time.Duration) {
		if h.User != "not JSON" {
			t.Errorf("holder %+v", h)
		}
		cancel(gone)
	})
	if !errors.Is(err, gone) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

func TestLockOfAProcessThatDied(t *testing.T) {
	f := newSetup(t)
	lease, err := f.client.Grant(t.Context(), 1) // nobody keeps it alive
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.tap.KV.Put(t.Context(), own+"lock", "{}", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	lock, err := f.lock(f.store, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// A server that dies keeps its lock for as long as its lease lives, and no longer. While it lives it keeps it.
func TestLockOfAServerThatDied(t *testing.T) {
	t.Parallel()
	endpoint := fixture.ServeEtcd(t)
	dying, other := newServer(t, endpoint, "dying.example.org"), newServer(t, endpoint, "other.example.org")
	const ttl = 12 * time.Second // a machine may stand still for some of it
	const long = ttl + time.Second
	who := holder
	who.Host = dying.name
	held, err := deploy.NewStore(dying.client, deploy.Config{LeaseTTL: ttl, Log: discard()}).Chain(namespace).Lock(
		t.Context(), who, 0, noWait)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.lock(other.store, long)
	fixture.WantFault(t, fault.Conflict, err, "on dying.example.org", "the lock of a server that died goes away by itself")
	if err := dying.client.Close(); err != nil { // nothing is given back or revoked
		t.Fatal(err)
	}
	died, told := time.Now(), 0
	left := other.lockLeft()
	lock, err := other.chain.Lock(t.Context(), holder, 5*time.Minute, func(h record.Holder, _ time.Duration) {
		if told++; h.Host != dying.name {
			t.Errorf("waiting for %s", h)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(died); told == 0 || left <= 0 || took < left || took > 10*ttl {
		t.Errorf("the lock came %s after the server's death, which had it for %s, told %d times to wait", took, left, told)
	}
	if err := held.Unlock(t.Context()); err == nil {
		t.Error("a dead server unlocked")
	}
	if other.dump()[own+"lock"] == "" {
		t.Error("the lock is not there")
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// lockLeft is how long the lease of the chain's lock lives still, at least: etcd cuts it to whole seconds.
func (f *setup) lockLeft() time.Duration {
	f.Helper()
	lock, err := f.client.Get(f.Context(), own+"lock")
	if err != nil {
		f.Fatal(err)
	}
	if len(lock.Kvs) == 0 {
		f.Fatal("the lock is gone")
	}
	lease, err := f.client.TimeToLive(f.Context(), clientv3.LeaseID(lock.Kvs[0].Lease))
	if err != nil {
		f.Fatal(err)
	}
	return time.Duration(lease.TTL) * time.Second
}

// However often the lease is lost, what a Locker remembers of it is bounded, and a lock of a late one is still known.
func TestLostLeasesAreBounded(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	for range 2 * deploy.KeptLeases {
		if _, err := f.lock(f.store, 0); err != nil {
			t.Fatal(err)
		}
		if n := f.revokeAll(); n != 1 {
			t.Fatalf("%d leases", n)
		}
	}
	if n := f.store.Leases(); n != deploy.KeptLeases {
		t.Errorf("%d leases are remembered, want %d", n, deploy.KeptLeases)
	}
	lock, err := f.lock(f.store, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.inject(faults["permission denied"], 1, 1)
	if err := lock.Unlock(t.Context()); err == nil {
		t.Fatal("unlocked")
	}
	f.tap.on(nil)
	if lock, err = f.lock(f.store, 0); err != nil {
		t.Fatalf("its own left-over keeps it out: %v", err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// revokeAll takes every lease away, as etcd does when a process was cut off for too long.
func (f *setup) revokeAll() int {
	f.Helper()
	leases, err := f.client.Leases(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := f.client.Revoke(f.Context(), l.ID); err != nil {
			f.Fatal(err)
		}
	}
	return len(leases.Leases)
}

func TestLeaseLostIsGrantedAgain(t *testing.T) {
	f := newSetup(t)
	p, _ := f.uploaded(f.one())
	if n := f.revokeAll(); n != 1 {
		t.Errorf("%d leases", n)
	}
	if _, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("got %v, want lock lost", err)
	}
	f.deploy(p.Verdict.Commits[0])
	f.revokeAll() // and Close, in the end, finds none
}

func TestDoTakesALostLockAgain(t *testing.T) {
	f := newSetup(t)
	stolen := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if txn.puts(record1) && stolen < 2 {
			stolen++
			f.revokeAll()
		}
		return txn.send()
	})
	f.sameAsGit(f.deploy(f.one()))
	if stolen != 2 {
		t.Errorf("stolen %d times", stolen)
	}
}

func TestCloseFreesTheLock(t *testing.T) {
	f := newSetup(t)
	s := f.newStore()
	if err := s.Close(t.Context()); err != nil { // nothing granted yet
		t.Error(err)
	}
	if _, err := f.lock(s, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f.dump()[own+"lock"] != "" {
		t.Error("the lock is still there")
	}
}

func TestUnstickRemovesOnlyItsOwnServersLock(t *testing.T) {
	f := newSetup(t)
	breakDead := func(server string) bool {
		removed, err := f.chain.BreakDeadLock(t.Context(), func(h record.Holder) bool { return h.Server == server })
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	if breakDead(holder.Server) {
		t.Error("removed what is not there")
	}
	if _, err := f.lock(f.store, 0); err != nil {
		t.Fatal(err)
	}
	if breakDead("SHA256:another") || f.dump()[own+"lock"] == "" {
		t.Error("removed another server's lock")
	}
	if !breakDead(holder.Server) || f.dump()[own+"lock"] != "" {
		t.Error("did not remove its own lock")
	}
	f.put(own+"lock", "garbage")
	if breakDead(holder.Server) || breakDead("") {
		t.Error("removed a lock that nobody can read")
	}
}

func TestLockedErrorSaysHowLong(t *testing.T) {
	err := deploy.LockedError(namespace, holder, 30*time.Second+3*time.Millisecond)
	if !strings.HasSuffix(err.Error(), "; waited 30s") {
		t.Error(err)
	}
}

// A watch that fails at once must not become a busy loop.
func TestLockWaitWithABrokenWatch(t *testing.T) {
	f := newSetup(t)
	resp, err := f.tap.KV.Put(t.Context(), own+"lock", "somebody")
	if err != nil {
		t.Fatal(err)
	}
	last, err := f.tap.KV.Put(t.Context(), "/elsewhere", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Compact(t.Context(), last.Header.Revision); err != nil {
		t.Fatal(err)
	}
	_ = resp // the watch from the lock's revision on finds it compacted
	requests := f.tap.count(func() {
		_, err := f.lock(f.store, time.Second)
		fixture.WantFault(t, fault.Conflict, err, "locked by somebody", "")
	})
	if requests > 10 {
		t.Errorf("%d requests in a second", requests)
	}
}

// However many wait for one lock, it comes to all of them: etcd's in-process client once stopped telling anybody.
func TestLockOfManyWaiters(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	for range 2 {
		first, err := f.lock(f.store, 0)
		if err != nil {
			t.Fatal(err)
		}
		var all, waiting sync.WaitGroup
		waiting.Add(64)
		for i := range 64 {
			all.Go(func() {
				who := holder
				who.User = fmt.Sprint(i)
				var once sync.Once
				l, err := f.chain.Lock(t.Context(), who, time.Minute, func(record.Holder, time.Duration) { once.Do(waiting.Done) })
				if err != nil {
					t.Error(err)
					return
				}
				if err := l.Unlock(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		waiting.Wait()
		if err := first.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		all.Wait()
		if t.Failed() {
			return
		}
	}
}
