package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

// A txn that failed because etcd had no leader or no connection is sent again
// after 100, 200, 400, 800 and 1,600 ms: an election takes one to two seconds.
// etcd's client repeats single gets by itself, but no txn, not even of gets only.
const (
	txnTries   = 6
	firstPause = 100 * time.Millisecond
)

// commit sends a txn of ops, which must be idempotent: it may be applied more
// than once, and also when an error is returned.
func commit(ctx context.Context, kv clientv3.KV, ops []clientv3.Op) (*clientv3.TxnResponse, error) {
	pause := firstPause
	for try := 1; ; try++ {
		resp, err := kv.Txn(ctx).Then(ops...).Commit()
		if err == nil {
			return resp, nil
		}
		if try == txnTries || !isTransient(err) || !sleep(ctx, pause) {
			return nil, err
		}
		pause *= 2
	}
}

func isTransient(err error) bool {
	named := asEtcd(err)
	if errors.Is(named, rpctypes.ErrTooManyRequests) || errors.Is(named, rpctypes.ErrAuthOldRevision) {
		return true
	}
	return codeOf(named) == codes.Unavailable && !isTLS(named)
}

// sleep waits and tells whether ctx is still open then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
