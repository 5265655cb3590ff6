package deploy

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// locker holds the one lease that a process's chain locks hang on, so that they go when the process goes. It may be
// used by many goroutines.
type locker struct {
	held *etcd.Lease

	mu     sync.Mutex
	leases []clientv3.LeaseID // the last ones that this process had, the newest at the end
	owned  map[string]bool    // namespace and value of the locks that are held or asked for
}

// keptLeases bounds locker.leases. A forgotten lease runs out within a minute or so, and its locks with it: a lock on
// one that is too old to be among these is waited for until then.
const keptLeases = 64

func newLocker(client *etcd.Client, ttl time.Duration) *locker {
	return &locker{held: etcd.NewLease(client, ttl), owned: map[string]bool{}}
}

// own notes that a lock is held or asked for.
func (l *locker) own(ns record.Namespace, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owned[string(ns)+string(value)] = true
}

// disown notes that a lock is no longer held or asked for.
func (l *locker) disown(ns record.Namespace, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.owned, string(ns)+string(value))
}

// isLeftOver tells whether a lock is of this process, and nothing in it uses it any longer.
func (l *locker) isLeftOver(ns record.Namespace, held *mvccpb.KeyValue) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.leases, clientv3.LeaseID(held.Lease)) && !l.owned[string(ns)+string(held.Value)]
}

// lease gives the lease, a new one if there is none or the old one has run out.
func (l *locker) lease(ctx context.Context) (clientv3.LeaseID, error) {
	id, err := l.held.Get(ctx)
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.leases, id) {
		l.leases = append(l.leases[max(0, len(l.leases)-keptLeases+1):], id)
	}
	return id, nil
}

// abandon drops a lease: one that etcd no longer knows, or that a lock may hang on which could not be given
// back. No longer kept alive, it runs out and takes that lock with it, so that other servers wait for no longer than
// that. A lock of another push that goes with it is lost, and taken again.
func (l *locker) abandon(id clientv3.LeaseID) { l.held.Drop(id) }

// close revokes the lease, and with it every lock that still hangs on it.
func (l *locker) close(ctx context.Context) error { return l.held.End(ctx) }
