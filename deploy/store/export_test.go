package store

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/record"
)

// EtcdReader is what Open reads with.
func EtcdReader(client *clientv3.Client, ns record.Namespace) Reader { return Open(client, ns).reader }
