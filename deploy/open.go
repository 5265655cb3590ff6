package deploy

import (
	"log/slog"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Chain is the chain of one namespace, to read and to deploy into.
type Chain struct {
	*store.Chain
	client *clientv3.Client
	kv     clientv3.KV // client's, with a bound on how long one request may take
	ns     record.Namespace
	log    *slog.Logger
}

// Open gives the chain of a namespace; it asks etcd nothing yet.
func Open(client *clientv3.Client, ns record.Namespace, log *slog.Logger) *Chain {
	kv := etcd.BoundedBelow(client, string(ns)+"/")
	return &Chain{Chain: store.Open(kv, ns), client: client, kv: kv, ns: ns, log: log.With("namespace", string(ns))}
}
