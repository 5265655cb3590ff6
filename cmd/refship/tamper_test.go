package main

import (
	"context"
	"fmt"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// cmdTamper does to etcd what a client of etcd can do.
func cmdTamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper PREFIX")
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		found, err := client.Get(ctx, args[0], clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range found.Kvs {
			if len(kv.Value) > 0 {
				kv.Value[len(kv.Value)-1] ^= 1
			}
			if _, err := client.Put(ctx, string(kv.Key), string(kv.Value)); err != nil {
				return err
			}
			ts.Logf("tampered with %q", kv.Key)
		}
		if len(found.Kvs) == 0 {
			return fmt.Errorf("no key starts with %s", args[0])
		}
		return nil
	})
}

// cmdCopyKeys copies all keys that start with a prefix, as a client of etcd can.
func cmdCopyKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copykeys PREFIX PREFIX")
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		found, err := client.Get(ctx, args[0], clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range found.Kvs {
			if _, err := client.Put(ctx, args[1]+string(kv.Key[len(args[0]):]), string(kv.Value)); err != nil {
				return err
			}
		}
		if len(found.Kvs) == 0 {
			return fmt.Errorf("no key starts with %s", args[0])
		}
		return nil
	})
}
