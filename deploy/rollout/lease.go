package rollout

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"refship/deploy/etcd"
)

// lease is the one that all of a process's owner keys are on, so that they go soon when it dies. It is granted when the
// first chain needs it.
type lease struct {
	client *etcd.Client
	ttl    time.Duration

	mu      sync.Mutex
	session *concurrency.Session
}

// get gives the lease, a new one if there is none or the old one has run out.
func (l *lease) get(ctx context.Context) (clientv3.LeaseID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		select {
		case <-l.session.Done():
		default:
			return l.session.Lease(), nil
		}
	}
	id, err := etcd.Grant(ctx, l.client, int64(l.ttl.Seconds()))
	if err != nil {
		return 0, fmt.Errorf("grant lease: %w", err)
	}
	// The session's own context must outlive this call, so it is the client's.
	if l.session, err = concurrency.NewSession(l.client, concurrency.WithLease(id)); err != nil {
		return 0, fmt.Errorf("keep lease alive: %w", etcd.Classify(err))
	}
	return id, nil
}

// drop forgets a lease, so that the next one is new.
func (l *lease) drop(id clientv3.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.session.Lease() == id {
		l.session.Orphan()
		l.session = nil
	}
}

// end revokes the lease, so that another server owns the chains at once.
func (l *lease) end(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
	defer cancel()
	l.session.Orphan()
	_, _ = l.client.Revoke(ctx, l.session.Lease()) // else it runs out
	l.session = nil
}
