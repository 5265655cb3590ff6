package deploy

import (
	"log/slog"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/record"
	"refship/deploy/store"
)

// Chain is the chain of one namespace, to read and to deploy into.
type Chain struct {
	*store.Chain
	client *clientv3.Client
	kv     clientv3.KV // client's, with a bound on how long one request may take
	locker *locker
	ns     record.Namespace
	log    *slog.Logger
}
