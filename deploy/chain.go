package deploy

import (
	"context"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/disk"
	"refship/deploy/etcd"
	"refship/deploy/plan"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/keys"
)

// Store is an etcd that one process deploys into. It may be used by many goroutines.
type Store struct {
	client *etcd.Client
	locker *locker
	memory *plan.Memory
	cfg    Config
}

// Config is what a Store needs beside its etcd.
type Config struct {
	// LeaseTTL (whole seconds) is how long the chains that the process has locked stay locked when it dies.
	LeaseTTL time.Duration
	// Signers says whose signatures count; it is asked at each verdict. Nil, or a nil answer: that is not known, and no
	// signature is judged.
	Signers func() (*keys.AllowedSigners, error)
	// EtcdDir is the directory of an etcd on this machine, whose disk must have room; "": it is elsewhere, or not known.
	EtcdDir string
	Room    *disk.Room // of this machine's disks, for all of the process; nil: nothing else writes much
	// KeptFree is how many bytes of etcd's quota no deploy may take: gc needs them.
	KeptFree int64
	Log      *slog.Logger
}

// NewStore makes a Store; it asks etcd nothing yet. The client is not closed with the Store.
func NewStore(client *etcd.Client, cfg Config) *Store {
	if cfg.Room == nil {
		cfg.Room = new(disk.Room)
	}
	if cfg.EtcdDir != "" {
		cfg.Room.Keep(cfg.EtcdDir, logRoom)
	}
	return &Store{client: client, locker: newLocker(client, cfg.LeaseTTL), memory: plan.NewMemory(), cfg: cfg}
}

// Signers says whose signatures count, nil if that is not known.
func (s *Store) Signers() (*keys.AllowedSigners, error) {
	if s.cfg.Signers == nil {
		return nil, nil //nolint:nilnil // nothing is known of signers, which is no error
	}
	return s.cfg.Signers()
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
	trust  func() (*keys.AllowedSigners, error) // says whose signatures count, nil if that is not known
	memory *plan.Memory
	log    *slog.Logger
}

// Chain gives the chain of a namespace; it asks etcd nothing yet.
func (s *Store) Chain(ns record.Namespace) *Chain {
	return &Chain{
		Chain: store.Open(s.client, ns), ns: ns,
		client: s.client, kv: etcd.BoundedBelow(s.client, string(ns)+"/"), locker: s.locker, memory: s.memory,
		trust: s.Signers, log: s.cfg.Log.With("namespace", string(ns)),
	}
}
