package deploy_test

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// tap stands between a chain and etcd: it counts requests, and a test can put itself in place of a txn.
type tap struct {
	clientv3.KV

	mu       sync.Mutex
	requests int
	onTxn    func(*tapTxn) (*clientv3.TxnResponse, error)
}

// count tells how many requests fn makes.
func (t *tap) count(fn func()) int {
	t.mu.Lock()
	before := t.requests
	t.mu.Unlock()
	fn()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests - before
}

// on sets what is called in place of each txn; nil: nothing.
func (t *tap) on(fn func(*tapTxn) (*clientv3.TxnResponse, error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onTxn = fn
}

func (t *tap) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	t.mu.Lock()
	t.requests++
	t.mu.Unlock()
	return t.KV.Do(ctx, op)
}

func (t *tap) Txn(ctx context.Context) clientv3.Txn { return &tapTxn{tap: t, ctx: ctx} }

type tapTxn struct {
	tap   *tap
	ctx   context.Context
	ifs   []clientv3.Cmp
	thens []clientv3.Op
	elses []clientv3.Op
}

func (t *tapTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.ifs = cs; return t }
func (t *tapTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.thens = ops; return t }
func (t *tapTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.elses = ops; return t }

// send is the txn itself.
func (t *tapTxn) send() (*clientv3.TxnResponse, error) {
	return t.tap.KV.Txn(t.ctx).If(t.ifs...).Then(t.thens...).Else(t.elses...).Commit()
}

func (t *tapTxn) Commit() (*clientv3.TxnResponse, error) {
	t.tap.mu.Lock()
	t.tap.requests++
	on := t.tap.onTxn
	t.tap.mu.Unlock()
	if on != nil {
		return on(t)
	}
	return t.send()
}

// puts tells whether the txn would write a key.
func (t *tapTxn) puts(key string) bool {
	for _, op := range t.thens {
		if op.IsPut() && string(op.KeyBytes()) == key {
			return true
		}
	}
	return false
}

// writes tells whether the txn would write anything.
func (t *tapTxn) writes() bool {
	for _, op := range t.thens {
		if op.IsPut() || op.IsDelete() {
			return true
		}
	}
	return false
}
