package etcd_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"google.golang.org/grpc/codes"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
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
	server := fixture.StartEtcd(t, embedded.Config{Listen: "127.0.0.1:0"})
	client := dial(t, etcd.Config{Endpoints: []string{server.Addr()}})
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
	for _, s := range got {
		if !slices.Contains(etcd.RequestOps(), s.Op) {
			t.Errorf("%s is none of RequestOps", s.Op)
		}
	}
}

func wantErr(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("no error")
	}
}

// leases are what was observed of leases, and who waits for it.
type leases chan etcd.Request

func (l leases) want(t *testing.T, op string, code codes.Code) {
	t.Helper()
	select {
	case r := <-l:
		if r.Op != op || r.Code != code || r.Took <= 0 || !slices.Contains(etcd.RequestOps(), r.Op) {
			t.Errorf("seen was %+v, want %s %s", r, op, code)
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("no %s was seen", op)
	}
}

func (l leases) wantNothing(t *testing.T) {
	t.Helper()
	if len(l) > 0 {
		t.Errorf("seen was %+v", <-l)
	}
}

// lives is how long a lease lives here, in seconds: a machine may stand still for some, and it is waited for.
const lives = 12

// With an etcd of its own, which can be killed, and with the one in this process, which is not asked over a connection.
func TestObservedLease(t *testing.T) {
	t.Parallel()
	process := fixture.StartProcess(t)
	t.Run("in process", func(t *testing.T) { observeLeases(t, fixture.NewEtcd(t).Client()) })
	t.Run("process", func(t *testing.T) {
		// etcd's client waits for so long for the first renewal of a lease.
		client := dial(t, etcd.Config{Endpoints: []string{process.URL()}, DialTimeout: 20 * time.Second})
		seen := observeLeases(t, client)
		// Killed: what is asked fails, and the lease is lost when it has not been renewed for as long as it lives.
		renewed := time.Now()
		session, err := concurrency.NewSession(client, concurrency.WithTTL(lives))
		if err != nil {
			t.Fatal(err)
		}
		seen.want(t, "lease_grant", codes.OK)
		if _, err := client.KeepAliveOnce(t.Context(), session.Lease()); err != nil {
			t.Fatal(err)
		}
		process.Kill()
		if _, err := etcd.Grant(t.Context(), client, 60); !errors.Is(err, etcd.ErrUnreachable) {
			t.Errorf("granted by a dead etcd: %v", err)
		}
		lost, grants := false, 0
		for !lost { // Grant has tried several times, and is over before or after the lease
			var r etcd.Request
			select {
			case r = <-seen:
			case <-time.After(2 * time.Minute):
				t.Fatal("the lease is not lost")
			}
			want := codes.Unavailable
			switch r.Op {
			case "lease_grant":
				grants++
			case "lease_keepalive":
				lost, want = true, codes.DeadlineExceeded
				if after := time.Since(renewed); r.Took < lives*time.Second || after < lives*time.Second {
					t.Errorf("lost after %s of its life, and %s after a renewal", r.Took, after)
				}
			}
			if r.Code != want {
				t.Errorf("seen was %+v", r)
			}
		}
		if grants == 0 {
			t.Error("no grant was seen")
		}
		_, err = client.Revoke(t.Context(), session.Lease())
		wantErr(t, err)
		seen.want(t, "lease_revoke", codes.Unavailable)
	})
}

func observeLeases(t *testing.T, client *clientv3.Client) leases {
	t.Helper()
	ctx, seen := t.Context(), make(leases, 100)
	client.Lease = etcd.ObservedLease(client.Lease, func(r etcd.Request) { seen <- r })
	// Kept alive, and given back.
	session, err := concurrency.NewSession(client, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	seen.want(t, "lease_grant", codes.OK)
	if err := session.Close(); err != nil {
		t.Error(err)
	}
	seen.want(t, "lease_revoke", codes.OK)
	seen.wantNothing(t)
	// Revoked by another client.
	lost, err := etcd.Grant(ctx, client, lives)
	if err != nil {
		t.Fatal(err)
	}
	seen.want(t, "lease_grant", codes.OK)
	renewals, err := client.KeepAlive(ctx, lost)
	if err != nil {
		t.Fatal(err)
	}
	if resp := <-renewals; resp == nil || resp.ID != lost || resp.TTL != lives {
		t.Errorf("renewed: %v", resp)
	}
	if _, err := client.Revoke(ctx, lost); err != nil {
		t.Error(err)
	}
	seen.want(t, "lease_revoke", codes.OK)
	for range renewals { // until it is lost
	}
	seen.want(t, "lease_keepalive", codes.NotFound)
	// What etcd refuses.
	_, err = client.Revoke(ctx, lost)
	wantErr(t, err)
	seen.want(t, "lease_revoke", codes.NotFound)
	_, err = client.Grant(ctx, 1<<62)
	wantErr(t, err)
	seen.want(t, "lease_grant", codes.OutOfRange)
	seen.wantNothing(t)
	return seen
}
