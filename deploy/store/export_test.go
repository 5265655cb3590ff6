package store

import (
	"refship/deploy/etcd"
	"refship/deploy/record"
)

// EtcdReader is what Open reads with.
func EtcdReader(client *etcd.Client, ns record.Namespace) Reader { return Open(client, ns).reader }
