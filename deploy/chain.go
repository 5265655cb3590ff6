package deploy

import (
	"context"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Store is an etcd that one process deploys into. It may be used by many goroutines.
type Store struct {
	client *etcd.Client
	locker *locker
	log    *slog.Logger
}

// NewStore makes a Store; it asks etcd nothing yet. leaseTTL (whole seconds) is how long the chains that the process
// has locked stay locked when it dies. The client is not closed with the Store.
func NewStore(client *etcd.Client, leaseTTL time.Duration, log *slog.Logger) *Store {
	return &Store{client: client, locker: newLocker(client, leaseTTL), log: log}
}

// Close gives back every lock that the Store's chains still have, by revoking their lease. If etcd cannot be told
// before ctx ends, the lease runs out by itself.
func (s *Store) Close(ctx context.Context) error { return s.locker.close(ctx) }

// Chain is the chain of one namespace, to read and to deploy into.
type Chain struct {
	*store.Chain
	ns     record.Namespace
	client *etcd.Client // for watches
	kv     clientv3.KV  // client's, with a bound on how long one request may take
	locker *locker
	log    *slog.Logger
}

// Chain gives the chain of a namespace; it asks etcd nothing yet.
func (s *Store) Chain(ns record.Namespace) *Chain {
	return &Chain{
		Chain: store.Open(s.client, ns), ns: ns,
		client: s.client, kv: etcd.BoundedBelow(s.client, string(ns)+"/"), locker: s.locker,
		log: s.log.With("namespace", string(ns)),
	}
}
