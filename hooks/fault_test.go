package hooks_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// faultKV stands between deploy and a real etcd. Each request has a stage: "read", "lock", "unlock", "upload" or
// "publish".
type faultKV struct {
	clientv3.KV

	mu   sync.Mutex
	rule func(stage string) outage
}

// outage is what happens to a request.
type outage struct {
	before error         // instead of sending it
	after  error         // instead of its answer
	delay  time.Duration // before it is sent
	// keepLock leaves the lock where it is, as if somebody else had taken it in the same moment.
	keepLock bool
}

func newFaultKV(kv clientv3.KV) *faultKV {
	f := &faultKV{KV: kv}
	f.heal()
	return f
}

// breaks lets a rule decide on all requests from now on.
func (f *faultKV) breaks(rule func(stage string) outage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule = rule
}

func (f *faultKV) heal() { f.breaks(func(string) outage { return outage{} }) }

// outage is what the rule says of a request.
func (f *faultKV) fault(stage string) outage {
	f.mu.Lock()
	rule := f.rule
	f.mu.Unlock()
	return rule(stage)
}

func (f *faultKV) do(ctx context.Context, what outage, send func() error) error {
	if what.delay > 0 {
		select {
		case <-time.After(what.delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if what.before != nil {
		return what.before
	}
	if err := send(); err != nil {
		return err
	}
	return what.after
}

func (f *faultKV) Do(ctx context.Context, op clientv3.Op) (resp clientv3.OpResponse, err error) {
	err = f.do(ctx, f.fault("read"), func() (err error) {
		resp, err = f.KV.Do(ctx, op)
		return err
	})
	return resp, err
}

func (f *faultKV) Txn(ctx context.Context) clientv3.Txn {
	return &faultTxn{Txn: f.KV.Txn(ctx), kv: f, ctx: ctx}
}

type faultTxn struct {
	clientv3.Txn
	kv    *faultKV
	ctx   context.Context
	stage string
	what  outage
}

func (t *faultTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.Txn = t.Txn.If(cs...); return t }
func (t *faultTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }
func (t *faultTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.stage = stageOf(ops)
	t.what = t.kv.fault(t.stage)
	if t.what.keepLock {
		ops = slices.DeleteFunc(slices.Clone(ops), clientv3.Op.IsDelete)
	}
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *faultTxn) Commit() (resp *clientv3.TxnResponse, err error) {
	err = t.kv.do(t.ctx, t.what, func() (err error) {
		resp, err = t.Txn.Commit()
		return err
	})
	return resp, err
}

// stageOf goes by what a txn writes.
func stageOf(ops []clientv3.Op) string {
	stage := "read"
	for _, op := range ops {
		key := string(op.KeyBytes())
		switch {
		case op.IsPut() && strings.HasSuffix(key, "/record"):
			return "publish"
		case op.IsPut() && strings.HasSuffix(key, "/refship/lock"):
			stage = "lock"
		case op.IsPut() && stage == "read":
			stage = "upload"
		case op.IsDelete() && stage == "read":
			stage = "unlock"
		}
	}
	return stage
}
