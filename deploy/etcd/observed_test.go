package etcd_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"refship/deploy/etcd"
)

func TestObserved(t *testing.T) {
	type seen struct {
		Op   string
		Code codes.Code
	}
	var got []seen
	done := func(r etcd.Request) {
		if r.Took <= 0 {
			t.Errorf("%s took %s", r.Op, r.Took)
		}
		got = append(got, seen{r.Op, r.Code})
	}
	// Dialled: in process, etcd may answer although the context has ended.
	client := dial(t, etcd.Config{Endpoints: []string{start(t, etcd.EmbeddedConfig{Listen: "127.0.0.1:0"}).Addr()}})
	client.KV = etcd.Observed(client.KV, done)
	ctx := t.Context()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithTimeout(ctx, -1)
	defer cancel()

	// What comes back is what came back.
	put, err := client.Put(ctx, "key", "value")
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Get(ctx, "key"); err != nil || len(resp.Kvs) != 1 {
		t.Errorf("%v, %v", resp, err)
	}
	missing := clientv3.Compare(clientv3.CreateRevision("key"), "=", 0)
	resp, err := client.Txn(ctx).If(missing).Then(clientv3.OpPut("key", "then")).Else(clientv3.OpGet("key")).Commit()
	if err != nil || resp.Succeeded || string(resp.Responses[0].GetResponseRange().Kvs[0].Value) != "value" {
		t.Errorf("%v, %v", resp, err)
	}
	for _, op := range []clientv3.Op{
		clientv3.OpGet("key"), clientv3.OpPut("key", "other"), clientv3.OpDelete("key"), clientv3.OpTxn(nil, nil, nil),
	} {
		if _, err := client.Do(ctx, op); err != nil {
			t.Error(err)
		}
	}
	if resp, err := client.Delete(ctx, "key"); err != nil || resp.Deleted != 0 {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := client.Compact(ctx, put.Header.Revision); err != nil {
		t.Error(err)
	}
	// So are errors.
	_, err = client.Get(ctx, "key", clientv3.WithRev(1<<40))
	wantErr(t, err)
	_, err = client.Put(ctx, "", "value")
	wantErr(t, err)
	_, err = client.Txn(ctx).Then(clientv3.OpPut("twice", "1"), clientv3.OpPut("twice", "2")).Commit()
	wantErr(t, err)
	_, err = client.Get(ended, "key")
	wantErr(t, err)
	_, err = client.Get(late, "key")
	wantErr(t, err)
	want := []seen{
		{"put", codes.OK}, {"get", codes.OK}, {"txn", codes.OK},
		{"get", codes.OK}, {"put", codes.OK}, {"delete", codes.OK}, {"txn", codes.OK},
		{"delete", codes.OK}, {"compact", codes.OK},
		{"get", codes.OutOfRange}, {"put", codes.InvalidArgument}, {"txn", codes.InvalidArgument},
		{"get", codes.Canceled}, {"get", codes.DeadlineExceeded},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	ops := map[string]bool{}
	for _, s := range got {
		ops[s.Op] = true
	}
	for _, op := range etcd.RequestOps() {
		if !ops[op] {
			t.Errorf("no %s was seen", op)
		}
	}
	if len(ops) != len(etcd.RequestOps()) {
		t.Errorf("seen were %v", ops)
	}
}

func wantErr(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
	}
}
