package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// outage is one way in which etcd does not answer a request as it should.
type outage struct {
	err     error // nil: only late
	applied bool  // before the error
	kind    error // what the error is classified under, if it gets through; nil: as it is
	passes  bool  // a deploy succeeds all the same, if it happens once
}

var faults = map[string]outage{
	"slow": {passes: true},
	"unavailable": {err: status.Error(codes.Unavailable, "transport is closing"),
		kind: etcd.ErrUnreachable, passes: true},
	"unavailable, applied": {err: status.Error(codes.Unavailable, "transport is closing"), applied: true,
		kind: etcd.ErrUnreachable, passes: true},
	"no answer":          {err: context.DeadlineExceeded, kind: etcd.ErrUnreachable},
	"no answer, applied": {err: context.DeadlineExceeded, applied: true, kind: etcd.ErrUnreachable},
	"no leader":          {err: rpctypes.ErrNoLeader, kind: etcd.ErrUnreachable, passes: true},
	"leader changed":     {err: rpctypes.ErrLeaderChanged, kind: etcd.ErrUnreachable, passes: true},
	"leader changed, applied": {err: rpctypes.ErrLeaderChanged, applied: true, kind: etcd.ErrUnreachable,
		passes: true},
	"too many requests":           {err: rpctypes.ErrTooManyRequests, passes: true},
	"old revision of permissions": {err: rpctypes.ErrAuthOldRevision, passes: true},
	"full":                        {err: rpctypes.ErrNoSpace, kind: etcd.ErrFull},
	// etcd's quota is asked after it has applied
	"full, applied":     {err: rpctypes.ErrNoSpace, applied: true, kind: etcd.ErrFull},
	"permission denied": {err: rpctypes.ErrPermissionDenied, kind: etcd.ErrDenied},
	"invalid token":     {err: rpctypes.ErrInvalidAuthToken, kind: etcd.ErrDenied},
	"compacted":         {err: rpctypes.ErrCompacted},
}

// inject lets a fault happen to requests first, first+1, … up to last, counted from 1. What asks for the count gets
// it.
func (f *setup) inject(x outage, first, last int) (count func() int) {
	var mu sync.Mutex
	n := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		mu.Lock()
		n++
		hit := n >= first && n <= last
		mu.Unlock()
		switch {
		case !hit:
			return txn.send()
		case x.err == nil:
			timer := time.NewTimer(20 * time.Millisecond)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-txn.ctx.Done():
				return nil, txn.ctx.Err()
			}
			return txn.send()
		case x.applied:
			if _, err := txn.send(); err != nil {
				return nil, err
			}
		}
		return nil, x.err
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// A fault at any one request of a deploy leaves the old chain or the new one, whole; it is named, and the next deploy
// of the same process works.
func TestAFaultAtEveryRequestOfADeploy(t *testing.T) {
	for name, x := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			f := newSetup(t)
			all := files{"a": regular("a"), "d/b": regular("b"), "d/e/c": regular("c")}
			first := f.repo.commit("first", all)
			all["d/e/c"], all["d/new"] = regular("changed"), regular("new")
			second := f.repo.commit("second", all, first)
			for _, commit := range []tree.OID{first, second} {
				requests := 0
				for k := 1; ; k++ {
					f.clear()
					if commit == second {
						f.deploy(first)
					}
					count := f.inject(x, k, k)
					d, _, err := f.do(f.job(commit))
					f.tap.on(nil)
					if count() < k {
						break
					}
					requests++
					f.afterFault(x, fmt.Sprintf("request %d", k), commit, d, err)
				}
				if requests < 6 { // twice check, lock, exist and upload, publish
					t.Errorf("%d requests", requests)
				}
			}
		})
	}
}

// afterFault checks the chain after a deploy of a commit that met a fault, and deploys it again.
func (f *setup) afterFault(x outage, where string, commit tree.OID, d *record.Deploy, err error) {
	f.Helper()
	complete(f.TB, f.dump())
	id := f.head()
	var was record.ID
	if id > 0 && f.get(id).Hash == record.Hash(commit.String()) {
		was = id - 1
	} else {
		was = id
	}
	if (err == nil) != (id == was+1) || x.passes && err != nil {
		f.Fatalf("%s: the head is %d, %v", where, id, err)
	}
	if err == nil && d.ID != id {
		f.Errorf("%s: deploy %d, the head is %d", where, d.ID, id)
	}
	if err != nil {
		f.wantClassified(x, where, err)
	}
	again, already, err2 := f.chain.Do(f.Context(), holder, f.job(commit), 0, quiet) // no lock is in its way
	if err2 != nil || already != (err == nil) || again.ID != was+1 {
		f.Fatalf("%s: the next deploy is %+v, already %t, %v", where, again, already, err2)
	}
	if f.dump()[own+"lock"] != "" {
		f.Errorf("%s: the lock is left", where)
	}
	f.provenChain(was + 1)
}

func (f *setup) wantClassified(x outage, where string, err error) {
	f.Helper()
	switch {
	case x.kind != nil && (!errors.Is(err, x.kind) || fixture.Advice(err) == ""):
		f.Errorf("%s: %v is not %q with a hint", where, err, x.kind)
	case x.kind == nil && !errors.Is(err, x.err):
		f.Errorf("%s: %v, want %v", where, err, x.err)
	}
}

// Trouble that lasts from some request on ends the deploy with the old chain, and is over when it is over.
func TestAFaultThatLasts(t *testing.T) {
	for _, name := range []string{"full", "permission denied", "no answer", "no answer, applied"} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			x := faults[name]
			first := f.one()
			f.deploy(first)
			commit := f.repo.commit("two", files{"a": regular("b")}, first)
			for k := 1; ; k++ {
				publishing, reached := false, false
				f.onlyFrom(x, k, &publishing, &reached)
				_, _, err := f.do(f.job(commit))
				f.tap.on(nil)
				if publishing && !errors.Is(x.kind, etcd.ErrDenied) || !reached {
					break // a publish without an answer waits half a minute for one
				}
				if err == nil {
					t.Fatalf("request %d: deployed", k)
				}
				f.afterFault(x, fmt.Sprintf("from request %d on", k), commit, nil, err)
				f.clear()
				f.deploy(first)
			}
		})
	}
}

// onlyFrom lets a fault last from request k on until the publish, which only notes that it was reached; what is denied
// lasts on.
func (f *setup) onlyFrom(x outage, k int, publishing, reached *bool) {
	var mu sync.Mutex
	n := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		n++
		*publishing = *publishing || txn.puts(own+"head")
		if n < k || *publishing && !errors.Is(x.kind, etcd.ErrDenied) {
			return txn.send()
		}
		*reached = true
		if x.applied {
			if _, err := txn.send(); err != nil {
				return nil, err
			}
		}
		return nil, x.err
	})
}

// briefly is how long the leases live that a test waits for: a machine may stand still for some of it.
const briefly = 10 * time.Second

// A lock that could not be given back does not keep other servers out for longer than a lease lives.
func TestALockThatCouldNotBeGivenBackRunsOut(t *testing.T) {
	t.Parallel() // it waits
	f := newSetup(t)
	short := f.newStoreFor(briefly)
	lock, err := f.lock(short, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.inject(faults["permission denied"], 1, 1000)
	if err := lock.Unlock(t.Context()); !errors.Is(err, etcd.ErrDenied) {
		t.Fatalf("unlock: %v", err)
	}
	f.tap.on(nil)
	if f.dump()[own+"lock"] == "" {
		t.Fatal("the lock is gone")
	}
	other, err := f.lock(f.store, 5*time.Minute) // another server's
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	// The process itself goes on, with a new lease.
	again, err := f.lock(short, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
}

// A lock that another goroutine of the process holds is no left-over, whatever became of its lease.
func TestALostLeaseTakesNoLockAwayThatIsHeld(t *testing.T) {
	f := newSetup(t)
	p, _ := f.uploaded(f.one())
	other := f.store.Chain("/refship/other")
	lock, err := other.Lock(t.Context(), holder, 0, noWait)
	if err != nil {
		t.Fatal(err)
	}
	f.inject(faults["permission denied"], 1, 1)
	if err := lock.Unlock(t.Context()); err == nil {
		t.Fatal("unlocked")
	}
	f.tap.on(nil)
	_, err = f.lock(f.store, 0) // has a new lease, and waits for the first all the same
	fixture.WantFault(t, fault.Conflict, err, "is locked by ada", "")
	if d, err := p.Publish(t.Context()); err != nil || d.ID != 1 {
		t.Errorf("deploy %+v, %v", d, err)
	}
}
