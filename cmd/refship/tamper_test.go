package main

import (
	"context"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// cmdTamper does to etcd what somebody with a client of his own can do.
func cmdTamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper PREFIX")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{ts.Getenv("ETCD")}, Context: ctx})
	ts.Check(err)
	defer func() { _ = client.Close() }() // what it has put is acknowledged
	found, err := client.Get(ctx, args[0], clientv3.WithPrefix())
	ts.Check(err)
	for _, kv := range found.Kvs {
		if len(kv.Value) > 0 {
			kv.Value[len(kv.Value)-1] ^= 1
		}
		_, err := client.Put(ctx, string(kv.Key), string(kv.Value))
		ts.Check(err)
		ts.Logf("tampered with %q", kv.Key)
	}
	if len(found.Kvs) == 0 {
		ts.Fatalf("no key starts with %s", args[0])
	}
}
