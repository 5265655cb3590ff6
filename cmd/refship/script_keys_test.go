package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// withEtcd connects a script to the etcd at $ETCD.
func withEtcd(ts *testscript.TestScript, do func(ctx context.Context, client *clientv3.Client) error) {
	withEtcdFor(ts, patience, do)
}

func withEtcdFor(ts *testscript.TestScript, limit time.Duration,
	do func(ctx context.Context, client *clientv3.Client) error,
) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{ts.Getenv("ETCD")}, Context: ctx, Logger: zap.NewNop(),
	})
	ts.Check(err)
	defer func() { _ = client.Close() }() // what it has put is acknowledged
	ts.Check(do(ctx, client))
}

func cmdEtcdPut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: etcdput KEY VALUE|@FILE")
	}
	value := args[1]
	if file, ok := strings.CutPrefix(value, "@"); ok {
		value = ts.ReadFile(file)
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Put(ctx, args[0], value)
		return err
	})
}

func cmdEtcdDel(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: etcddel KEY")
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		resp, err := client.Delete(ctx, args[0])
		if err == nil && resp.Deleted == 0 {
			return fmt.Errorf("there is no key %s", args[0])
		}
		return err
	})
}

func cmdEtcdGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: etcdget KEY FILE")
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		found, err := client.Get(ctx, args[0])
		if err != nil {
			return err
		}
		if len(found.Kvs) == 0 {
			return fmt.Errorf("there is no key %s", args[0])
		}
		return os.WriteFile(ts.MkAbs(args[1]), found.Kvs[0].Value, 0o600)
	})
}

func cmdEtcdDump(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: etcddump FILE")
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		all, err := client.Get(ctx, "", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		var b strings.Builder
		for _, kv := range all.Kvs {
			fmt.Fprintf(&b, "%q version %d revision %d sha256 %x\n", kv.Key, kv.Version, kv.ModRevision, sha256.Sum256(kv.Value))
		}
		return os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600)
	})
}
