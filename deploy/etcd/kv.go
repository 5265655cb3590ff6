package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// doKV is a KV whose Get, Put, Delete and Txn are its Do, so that a wrapper has one function to write.
type doKV struct {
	clientv3.KV
	do func(context.Context, clientv3.Op) (clientv3.OpResponse, error)
}

// send sends what do was given to the KV below.
func (d doKV) send(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if !op.IsTxn() {
		return d.KV.Do(ctx, op)
	}
	ifs, thens, elses := op.Txn()
	resp, err := d.KV.Txn(ctx).If(ifs...).Then(thens...).Else(elses...).Commit()
	return resp.OpResponse(), err
}

func (d doKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	return d.do(ctx, op)
}

func (d doKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := d.do(ctx, clientv3.OpGet(key, opts...))
	return resp.Get(), err
}

func (d doKV) Put(ctx context.Context, key, value string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	resp, err := d.do(ctx, clientv3.OpPut(key, value, opts...))
	return resp.Put(), err
}

func (d doKV) Delete(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	resp, err := d.do(ctx, clientv3.OpDelete(key, opts...))
	return resp.Del(), err
}

// Txn gives a txn whose time starts with its Commit.
func (d doKV) Txn(ctx context.Context) clientv3.Txn { return &doTxn{ctx: ctx, do: d.do} }

// doTxn keeps the parts of a txn: each time that it is sent takes a new one.
type doTxn struct {
	ctx          context.Context
	do           func(context.Context, clientv3.Op) (clientv3.OpResponse, error)
	ifs          []clientv3.Cmp
	thens, elses []clientv3.Op
}

func (t *doTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.ifs = append(t.ifs, cs...); return t }
func (t *doTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.thens = append(t.thens, ops...); return t }
func (t *doTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.elses = append(t.elses, ops...); return t }

func (t *doTxn) Commit() (*clientv3.TxnResponse, error) {
	resp, err := t.do(t.ctx, clientv3.OpTxn(t.ifs, t.thens, t.elses))
	return resp.Txn(), err
}
