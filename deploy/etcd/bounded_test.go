package etcd_test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// clientOver is an in-process client with another KV.
func clientOver(e *embedded.Etcd, kv clientv3.KV) *clientv3.Client {
	client := clientv3.NewCtxClient(e.Client().Ctx())
	client.KV, client.Maintenance = kv, e.Client().Maintenance
	return client
}

// deadlineKV notes the deadline of each request on its way to etcd.
type deadlineKV struct {
	clientv3.KV
	t     *testing.T
	asked int
}

func (kv *deadlineKV) note(ctx context.Context) {
	kv.t.Helper()
	kv.asked++
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > etcd.RequestTimeout || time.Until(deadline) <= 0 {
		kv.t.Errorf("request %d has deadline %s, %t", kv.asked, deadline, ok)
	}
}

func (kv *deadlineKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	kv.note(ctx)
	return kv.KV.Do(ctx, op)
}

func (kv *deadlineKV) Txn(ctx context.Context) clientv3.Txn {
	kv.note(ctx)
	return kv.KV.Txn(ctx)
}

func TestBounded(t *testing.T) {
	e := fixture.NewEtcd(t)
	recorder := &deadlineKV{KV: e.Client(), t: t}
	kv := etcd.Bounded(clientOver(e, recorder))
	ctx := t.Context()
	if _, err := kv.Put(ctx, "key", "value"); err != nil {
		t.Error(err)
	}
	if resp, err := kv.Get(ctx, "key"); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("%v, %v", resp, err)
	}
	if resp, err := kv.Do(ctx, clientv3.OpGet("key")); err != nil || len(resp.Get().Kvs) != 1 {
		t.Errorf("%v, %v", resp, err)
	}
	missing := clientv3.Compare(clientv3.CreateRevision("key"), "=", 0)
	resp, err := kv.Txn(ctx).If(missing).Then(clientv3.OpPut("key", "then")).Else(clientv3.OpGet("key")).Commit()
	if err != nil || resp.Succeeded || string(resp.Responses[0].GetResponseRange().Kvs[0].Value) != "value" {
		t.Errorf("%v, %v", resp, err)
	}
	if resp, err := kv.Delete(ctx, "key"); err != nil || resp.Deleted != 1 {
		t.Errorf("%v, %v", resp, err)
	}
	if recorder.asked != 5 {
		t.Errorf("%d requests", recorder.asked)
	}
}
