package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// Lease is the one that a process's keys of one kind are on, so that they go soon when the process dies. It is granted
// when the first key needs it, and kept alive. It may be used by many goroutines.
type Lease struct {
	client *Client
	ttl    time.Duration

	mu      sync.Mutex
	session *concurrency.Session
}

// NewLease gives a lease that lives for ttl, in whole seconds, after the process has died.
func NewLease(client *Client, ttl time.Duration) *Lease {
	return &Lease{client: client, ttl: ttl}
}

// Get gives the lease, a new one if there is none or the old one has run out. Errors are classified.
func (l *Lease) Get(ctx context.Context) (clientv3.LeaseID, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil {
		select {
		case <-l.session.Done():
		default:
			return l.session.Lease(), nil
		}
	}
	id, err := Grant(ctx, l.client, int64(l.ttl.Seconds()))
	if err != nil {
		return 0, fmt.Errorf("grant lease: %w", err)
	}
	// The session's own context must outlive this call, so it is the client's.
	session, err := concurrency.NewSession(l.client, concurrency.WithLease(id))
	if err != nil {
		return 0, fmt.Errorf("keep lease alive: %w", Classify(err))
	}
	l.session = session
	return id, nil
}

// Drop no longer keeps this lease alive, so that it runs out and the next one is new. Another lease stays.
func (l *Lease) Drop(id clientv3.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.session.Lease() == id {
		l.session.Orphan()
		l.session = nil
	}
}

// End revokes the lease, and with it every key that is still on it. Errors are classified; the lease runs out then.
func (l *Lease) End(ctx context.Context) error {
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
	return Classify(err)
}
