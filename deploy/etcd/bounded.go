package etcd

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Bounded gives client's KV with bounds: by itself etcd's client waits until its context ends while no server
// answers. A Get or Txn is sent again while that may help (see "Trouble" in the package's documentation). So it may
// be applied twice, even after a later request of another client. Send only what can stand that: by its compares,
// because no other client puts anything else there, or because the caller counts the tries (CountTries). Put, Delete
// and Do are sent once.
func Bounded(client *Client) clientv3.KV {
	return BoundedBelow(client, "")
}

// BoundedBelow is Bounded for keys that all begin with prefix. If etcd denies one of them, the remedy names the prefix.
func BoundedBelow(client *Client, prefix string) clientv3.KV {
	return &boundedKV{KV: client.KV, patience: patience{client}, prefix: prefix}
}

type boundedKV struct {
	clientv3.KV
	patience patience
	prefix   string
}

// named classifies a missing permission, so that its remedy names the prefix. It gives any other error back as it is.
func (b *boundedKV) named(err error) error {
	if b.prefix == "" || !errors.Is(asEtcd(err), rpctypes.ErrPermissionDenied) {
		return err
	}
	return classified(ErrDenied, err, adviceForPermission(b.prefix))
}

func (b *boundedKV) Get(
	ctx context.Context, key string, opts ...clientv3.OpOption,
) (resp *clientv3.GetResponse, err error) {
	err = b.patience.try(ctx, func(ctx context.Context) (err error) {
		resp, err = b.KV.Get(ctx, key, opts...)
		return err
	})
	return resp, b.named(err)
}

func (b *boundedKV) Put(
	ctx context.Context, key, value string, opts ...clientv3.OpOption,
) (*clientv3.PutResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := b.KV.Put(ctx, key, value, opts...)
	return resp, b.named(err)
}

func (b *boundedKV) Delete(
	ctx context.Context, key string, opts ...clientv3.OpOption,
) (*clientv3.DeleteResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := b.KV.Delete(ctx, key, opts...)
	return resp, b.named(err)
}

func (b *boundedKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := b.KV.Do(ctx, op)
	return resp, b.named(err)
}

// Txn gives a txn whose time starts with its Commit.
func (b *boundedKV) Txn(ctx context.Context) clientv3.Txn { return &boundedTxn{kv: b, ctx: ctx} }

// boundedTxn keeps the parts of a txn: each try needs a new one.
type boundedTxn struct {
	kv    *boundedKV
	ctx   context.Context
	ifs   []clientv3.Cmp
	thens []clientv3.Op
	elses []clientv3.Op
}

func (t *boundedTxn) If(cs ...clientv3.Cmp) clientv3.Txn { t.ifs = append(t.ifs, cs...); return t }
func (t *boundedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.thens = append(t.thens, ops...)
	return t
}
func (t *boundedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.elses = append(t.elses, ops...)
	return t
}

func (t *boundedTxn) Commit() (resp *clientv3.TxnResponse, err error) {
	err = t.kv.patience.try(t.ctx, func(ctx context.Context) (err error) {
		resp, err = t.kv.KV.Txn(ctx).If(t.ifs...).Then(t.thens...).Else(t.elses...).Commit()
		return err
	})
	return resp, t.kv.named(err)
}

// Grant grants a lease that lives for ttl seconds. It is sent again as a request of Bounded is: a lease whose answer
// was lost runs out unused. Errors are classified.
func Grant(ctx context.Context, client *Client, ttl int64) (id clientv3.LeaseID, err error) {
	err = patience{client}.try(ctx, func(ctx context.Context) error {
		resp, err := client.Grant(ctx, ttl)
		if err == nil {
			id = resp.ID
		}
		return err
	})
	return id, Classify(err)
}
