package deploy_test

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// A member that was asked for the lock first, gave no answer, and puts it when all is over does not keep other servers
// out for longer than a lease lives, though the process that it is from lives on.
func TestALockThatIsPutLate(t *testing.T) {
	for name, use := range map[string]func(*setup, *deploy.Store) error{
		"after unlock": func(f *setup, s *deploy.Store) error {
			lock, err := f.lock(s, 0)
			if err != nil {
				return err
			}
			return lock.Unlock(f.Context())
		},
		"after a deploy": func(f *setup, s *deploy.Store) error {
			_, _, err := s.Chain(namespace).Do(f.Context(), holder, f.job(f.one()), 0, quiet)
			return err
		},
		"after waiting in vain": func(f *setup, s *deploy.Store) error {
			f.put(own+"lock", "somebody")
			_, err := f.lock(s, 0)
			f.delete(own + "lock")
			fixture.WantFault(f, fault.Conflict, err, "locked by somebody", "")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSetup(t)
			var late *tapTxn
			f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
				if late == nil && txn.puts(own+"lock") {
					late = txn
					return nil, rpctypes.ErrLeaderChanged
				}
				return txn.send()
			})
			if err := use(f, f.newStoreFor(briefly)); err != nil {
				t.Fatal(err)
			}
			late.ctx = t.Context()
			if resp, err := late.send(); err != nil || !resp.Succeeded || f.dump()[own+"lock"] == "" {
				t.Fatalf("the late one put nothing: %v, %v", resp, err)
			}
			lock, err := f.lock(f.store, 5*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := lock.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What etcd refuses one chain does not take the lease away that the process's other locks hang on.
func TestARefusedLockKeepsTheLease(t *testing.T) {
	for _, name := range []string{"full", "full, applied", "permission denied", "invalid token"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSetup(t)
			held, err := f.lock(f.store, 0)
			if err != nil {
				t.Fatal(err)
			}
			other := *f
			other.chain = f.store.Chain(namespace + "/other")
			f.inject(faults[name], 1, 1)
			if _, err := other.lock(f.store, 0); !errors.Is(err, faults[name].kind) {
				t.Fatalf("got %v", err)
			}
			f.tap.on(nil)
			if f.dump()[namespace+"/other/refship/lock"] != "" {
				t.Error("the refused lock is there")
			}
			if _, err := other.lock(f.store, 0); err != nil {
				t.Fatal(err)
			}
			if leases, err := f.client.Leases(t.Context()); err != nil || len(leases.Leases) != 1 {
				t.Errorf("%d leases, %v: another was granted", len(leases.Leases), err)
			}
			if err := held.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCountTries(t *testing.T) {
	f := newSetup(t)
	kv, tries := etcd.Bounded(f.client), 0
	f.inject(faults["leader changed"], 1, 2)
	if _, err := kv.Txn(etcd.CountTries(t.Context(), &tries)).Then(clientv3.OpGet("/x")).Commit(); err != nil ||
		tries != 3 {
		t.Errorf("%d tries, %v", tries, err)
	}
}
