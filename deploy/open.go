package deploy

import (
	"log/slog"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/record"
)

// Chain is the chain of one namespace, to read and to deploy into.
type Chain struct {
	*Reading
	client *clientv3.Client
	log    *slog.Logger
}

// Open gives the chain of a namespace; it asks etcd nothing yet.
func Open(client *clientv3.Client, ns record.Namespace, log *slog.Logger) *Chain {
	return &Chain{Reading: OpenReading(client, ns), client: client, log: log.With("namespace", string(ns))}
}
