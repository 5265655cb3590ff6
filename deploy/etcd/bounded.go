package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// RequestTimeout bounds one request: etcd's client by itself would wait for as long as its context lives while no
// server answers.
const RequestTimeout = 10 * time.Second

// Bounded gives kv with a bound of RequestTimeout on each Get, Put, Delete, Do and Txn.
func Bounded(kv clientv3.KV) clientv3.KV { return boundedKV{kv} }

type boundedKV struct{ clientv3.KV }

func (b boundedKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	return b.KV.Get(ctx, key, opts...)
}

func (b boundedKV) Put(ctx context.Context, key, value string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	return b.KV.Put(ctx, key, value, opts...)
}

func (b boundedKV) Delete(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	return b.KV.Delete(ctx, key, opts...)
}

func (b boundedKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	return b.KV.Do(ctx, op)
}

// Txn starts the bound with the txn, which is built and committed at once everywhere.
func (b boundedKV) Txn(ctx context.Context) clientv3.Txn {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	return boundedTxn{b.KV.Txn(ctx), cancel}
}

type boundedTxn struct {
	txn    clientv3.Txn
	cancel context.CancelFunc
}

func (b boundedTxn) If(cs ...clientv3.Cmp) clientv3.Txn { return boundedTxn{b.txn.If(cs...), b.cancel} }

func (b boundedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	return boundedTxn{b.txn.Then(ops...), b.cancel}
}

func (b boundedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	return boundedTxn{b.txn.Else(ops...), b.cancel}
}

func (b boundedTxn) Commit() (*clientv3.TxnResponse, error) {
	defer b.cancel()
	return b.txn.Commit()
}
