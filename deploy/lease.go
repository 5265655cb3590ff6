package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// locker holds the one lease that a process's chain locks hang on, so that they go when the process goes. It may be
// used by many goroutines.
type locker struct {
	client *etcd.Client
	ttl    time.Duration

	mu      sync.Mutex
	session *concurrency.Session
	leases  []clientv3.LeaseID // the last ones that this process had, the newest at the end
	owned   map[string]bool    // namespace and value of the locks that are held or asked for
}

// keptLeases bounds locker.leases. A forgotten lease runs out within a minute or so, and its locks with it: a lock on
// one that is too old to be among these is waited for until then.
const keptLeases = 64

func newLocker(client *etcd.Client, ttl time.Duration) *locker {
	return &locker{client: client, ttl: ttl, owned: map[string]bool{}}
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
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		select {
		case <-l.session.Done():
		default:
			return l.session.Lease(), nil
		}
	}
	lease, err := etcd.Grant(ctx, l.client, int64(l.ttl.Seconds()))
	if err != nil {
		return 0, fmt.Errorf("grant lease: %w", err)
	}
	// The session's own context must outlive this call, so it is the client's.
	session, err := concurrency.NewSession(l.client, concurrency.WithLease(lease))
	if err != nil {
		return 0, fmt.Errorf("keep lease alive: %w", etcd.Classify(err))
	}
	l.session = session
	l.leases = append(l.leases[max(0, len(l.leases)-keptLeases+1):], lease)
	return lease, nil
}

// abandon drops a lease: one that etcd no longer knows, or that a lock may hang on which could not be given
// back. No longer kept alive, it runs out and takes that lock with it, so that other servers wait for no longer than
// that. A lock of another push that goes with it is lost, and taken again.
func (l *locker) abandon(id clientv3.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.session.Lease() == id {
		l.session.Orphan()
		l.session = nil
	}
}

// close revokes the lease, and with it every lock that still hangs on it.
func (l *locker) close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return nil
	}
	l.session.Orphan()
	_, err := l.client.Revoke(ctx, l.session.Lease())
	l.session = nil
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil // it had run out
	}
	return etcd.Classify(err)
}
