package etcd

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// getOps is how many values one txn reads: large ones fill 24 MiB.
const getOps = 16

// Exist tells for each key whether it exists, in txns of MaxOps count-only gets, four at once. The txns see different
// revisions. Errors are classified.
func Exist(ctx context.Context, kv clientv3.KV, keys []string) ([]bool, error) {
	exist := make([]bool, len(keys))
	err := gets(ctx, kv, keys, MaxOps, func(i int, resp *clientv3.GetResponse) {
		exist[i] = resp.Count > 0
	}, clientv3.WithCountOnly())
	if err != nil {
		return nil, err
	}
	return exist, nil
}

// Get gives each key's value, nil if there is no such key (an empty value is not nil), in txns of 16 keys, four at
// once. Values may be as large as etcd takes them: callers bound the memory by the number of keys. The txns see
// different revisions. Errors are classified.
func Get(ctx context.Context, kv clientv3.KV, keys []string) ([][]byte, error) {
	values := make([][]byte, len(keys))
	err := gets(ctx, kv, keys, getOps, func(i int, resp *clientv3.GetResponse) {
		if len(resp.Kvs) > 0 {
			values[i] = append([]byte{}, resp.Kvs[0].Value...)
		}
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// gets reads keys in txns and calls found with each key's index and response, from several goroutines, once an index.
func gets(ctx context.Context, kv clientv3.KV, keys []string, maxOps int,
	found func(int, *clientv3.GetResponse), opts ...clientv3.OpOption,
) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for start := 0; start < len(keys); {
		end := batchEnd(keys, start, maxOps)
		batch, offset := keys[start:end], start
		group.Go(func() error {
			responses, err := getTxn(ctx, kv, batch, opts)
			for i, resp := range responses {
				found(offset+i, resp)
			}
			return err
		})
		start = end
	}
	return group.Wait()
}

// batchEnd is where a txn of gets that starts with keys[start] ends: after maxOps keys or BatchBytes of them, at
// least one.
func batchEnd(keys []string, start, maxOps int) int {
	size := 0
	for end := start; end < len(keys); end++ {
		size += len(keys[end])
		if end > start && (end-start == maxOps || size > BatchBytes) {
			return end
		}
	}
	return len(keys)
}

func getTxn(
	ctx context.Context, kv clientv3.KV, keys []string, opts []clientv3.OpOption,
) ([]*clientv3.GetResponse, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ops := make([]clientv3.Op, len(keys))
	for i, key := range keys {
		if key == "" {
			return nil, errors.New("read key: the key is empty")
		}
		ops[i] = clientv3.OpGet(key, opts...)
	}
	resp, err := kv.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read %d keys from %q on: %w", len(keys), keys[0], Classify(err))
	}
	responses := make([]*clientv3.GetResponse, len(keys))
	for i, r := range resp.Responses {
		responses[i] = (*clientv3.GetResponse)(r.GetResponseRange())
	}
	return responses, nil
}
