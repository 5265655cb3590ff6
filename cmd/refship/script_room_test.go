package main

// Scripts about an etcd without room have these commands, too:
//
//	etcdfill PREFIX QUOTA      put keys until $ETCD, whose quota is QUOTA bytes, has no room for the smallest one, also
//	                           after it was compacted and defragmented; its alarm NOSPACE is on then
//	etcdwaste KEY              put a key anew until $ETCD is full: all but one of its values can go
//	etcdempty PREFIX           delete keys and compact: $ETCD's database stays as large, and has free room inside

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
)

// keyCost is what etcd counts for a key beside its value and the key itself, in bytes.
const keyCost = 256

// fillTime bounds the filling of some MiB, with a few defragmentations.
const fillTime = 4 * patience

// putUntilFull puts values of 1 MiB until etcd takes no more.
func putUntilFull(ctx context.Context, client *clientv3.Client, key func(int) string) error {
	for i := 0; ; i++ {
		_, err := client.Put(ctx, key(i), strings.Repeat("x", 1<<20))
		if errors.Is(etcd.Classify(err), etcd.ErrFull) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func cmdEtcdFill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: etcdfill PREFIX QUOTA")
	}
	var quota int64
	_, err := fmt.Sscan(args[1], &quota)
	ts.Check(err)
	withEtcdFor(ts, fillTime, func(ctx context.Context, client *clientv3.Client) error {
		if err := putUntilFull(ctx, client, func(i int) string { return fmt.Sprintf("%s%04d", args[0], i) }); err != nil {
			return err
		}
		for i := 0; ; i++ {
			made, err := etcd.MakeRoom(ctx, client)
			if err != nil {
				return err
			}
			key := fmt.Sprintf("%slast/%04d", args[0], i)
			free := quota - made.Space.Used - keyCost - int64(len(key)) - 1
			value := strings.Repeat("x", int(max(0, min(free, 1<<20))))
			if _, err := client.Put(ctx, key, value); errors.Is(etcd.Classify(err), etcd.ErrFull) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

func cmdEtcdWaste(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: etcdwaste KEY")
	}
	withEtcdFor(ts, fillTime, func(ctx context.Context, client *clientv3.Client) error {
		return putUntilFull(ctx, client, func(int) string { return args[0] })
	})
}

func cmdEtcdEmpty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: etcdempty PREFIX")
	}
	withEtcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		resp, err := client.Delete(ctx, args[0], clientv3.WithPrefix())
		if err == nil {
			_, err = client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
		}
		if errors.Is(err, rpctypes.ErrCompacted) { // by the server's gc, meanwhile
			return nil
		}
		return err
	})
}
