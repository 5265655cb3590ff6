package deploy

import (
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Store is an etcd that one process deploys into.
type Store struct{ client *clientv3.Client }

// NewStore makes a Store.
func NewStore(client *clientv3.Client, _ time.Duration, _ *slog.Logger) *Store {
	return &Store{client: client}
}
