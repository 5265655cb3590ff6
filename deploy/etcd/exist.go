package etcd

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// Exist tells for each key whether it exists, in txns of MaxOps count-only gets, four at once. The txns see different
// revisions. Errors are classified.
func Exist(ctx context.Context, kv clientv3.KV, keys []string) ([]bool, error) {
	exist := make([]bool, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for start := 0; start < len(keys); {
		end := batchEnd(keys, start)
		batch, found := keys[start:end], exist[start:end]
		group.Go(func() error { return existTxn(ctx, kv, batch, found) })
		start = end
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return exist, nil
}

// batchEnd is where a txn that starts with keys[start] ends: after MaxOps keys or BatchBytes of them, at least one.
func batchEnd(keys []string, start int) int {
	size := 0
	for end := start; end < len(keys); end++ {
		size += len(keys[end])
		if end > start && (end-start == MaxOps || size > BatchBytes) {
			return end
		}
	}
	return len(keys)
}

// existTxn is one txn of Exist: found takes its answers.
func existTxn(ctx context.Context, kv clientv3.KV, keys []string, found []bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ops := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		if key == "" {
			return errors.New("read key: the key is empty")
		}
		ops[i] = clientv3.OpGet(key, clientv3.WithCountOnly())
	}
	resp, err := kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return fmt.Errorf("read %d keys from %q on: %w", len(keys), keys[0], Classify(err))
	}
	for i, r := range resp.Responses {
		found[i] = r.GetResponseRange().Count > 0
	}
	return nil
}
