package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/record"
)

// Open gives the chain of a namespace in an etcd; it asks etcd nothing yet.
func Open(client *etcd.Client, ns record.Namespace) *Chain {
	return New(etcdReader{etcd.BoundedBelow(client, string(ns)+"/")}, ns)
}

// etcdReader reads from etcd: each Read is one txn. Its errors are classified.
type etcdReader struct {
	kv clientv3.KV // with a bound on how long one request may take
}

func (r etcdReader) Read(ctx context.Context, revision int64, queries []Query) ([][]KeyValue, int64, error) {
	ops := make([]clientv3.Op, len(queries))
	for i, q := range queries {
		opts := []clientv3.OpOption{clientv3.WithRev(revision)}
		if q.NoValue {
			opts = append(opts, clientv3.WithKeysOnly())
		}
		switch {
		case q.Count && q.End != "":
			opts = append(opts, clientv3.WithRange(q.End), clientv3.WithCountOnly())
		case q.Count:
			opts = append(opts, clientv3.WithPrefix(), clientv3.WithCountOnly())
		case q.First > 0 && q.End != "":
			opts = append(opts, clientv3.WithRange(q.End), clientv3.WithLimit(int64(q.First)))
		case q.First > 0:
			opts = append(opts, clientv3.WithPrefix(), clientv3.WithLimit(int64(q.First)))
		}
		if q.Last > 0 {
			opts = append(opts, clientv3.WithPrefix(), clientv3.WithLimit(int64(q.Last)),
				clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		}
		key := q.Key
		if q.After != "" {
			key = q.After + "\x00"
			opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(q.Key)))
		}
		ops[i] = clientv3.OpGet(key, opts...)
	}
	resp, err := r.kv.Txn(ctx).Then(ops...).Commit()
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil, 0, fmt.Errorf("%w: %w", ErrCompacted, err)
	case err != nil:
		return nil, 0, err
	}
	found := make([][]KeyValue, len(queries))
	for i, one := range resp.Responses {
		if queries[i].Count {
			found[i] = []KeyValue{{Key: queries[i].Key, Count: one.GetResponseRange().Count}}
		}
		for _, kv := range one.GetResponseRange().Kvs {
			found[i] = append(found[i], KeyValue{Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision})
		}
	}
	if revision == 0 {
		revision = resp.Header.Revision
	}
	return found, revision, nil
}
