package gate_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/etcd/gate"
	"refship/deploy/fixture"
)

// throughAs gives the client of a node.
func throughAs(t *testing.T, server *gate.Server, node string) *etcd.Client {
	t.Helper()
	near, far := pair(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(t.Context(), far, gate.Visitor{Namespace: ns, Node: node}) }()
	t.Cleanup(func() {
		near.Close()
		if err := <-served; err != nil && !errors.Is(err, t.Context().Err()) {
			t.Error(err)
		}
	})
	return dial(t, near)
}

// A node puts its report, and that it lives under a lease of its own; so do others that share its key. Without its lease
// it is gone.
func TestNode(t *testing.T) {
	e := fixture.NewEtcd(t)
	client := throughAs(t, gate.NewServer(e.Remote()), "web@host.1")
	lease, err := etcd.Grant(t.Context(), client, 60)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"web@host.1", "web@host.1.pod-7"} {
		report, alive := ns+"/refship/node/"+name, ns+"/refship/alive/"+name
		_, err := etcd.Bounded(client).Txn(t.Context()).Then(clientv3.OpPut(report, "{}"),
			clientv3.OpPut(alive, "", clientv3.WithLease(lease)), clientv3.OpGet(report)).Commit()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(t.Context(), report, "{1}"); err != nil {
			t.Error(err)
		}
	}
	kept, err := client.KeepAlive(t.Context(), lease)
	if err != nil {
		t.Fatal(err)
	}
	if renewed := <-kept; renewed == nil || renewed.ID != lease {
		t.Errorf("renewed: %v", renewed)
	}
	if n := len(fixture.Dump(t, e.Client())); n != 4 {
		t.Errorf("%d keys", n)
	}
	if _, err := client.Revoke(t.Context(), lease); err != nil {
		t.Error(err)
	}
	if n := len(fixture.Dump(t, e.Client())); n != 2 {
		t.Errorf("%d keys without the lease", n)
	}
}

// Nothing else may a node write, and it has no part of a lease of others.
func TestNodeRefused(t *testing.T) {
	e := fixture.NewEtcd(t)
	server := gate.NewServer(e.Remote())
	client, other := throughAs(t, server, "web"), throughAs(t, server, "other")
	ctx := t.Context()
	foreign, err := etcd.Grant(ctx, other, 60)
	if err != nil {
		t.Fatal(err)
	}
	own, err := etcd.Grant(ctx, client, 60)
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, "7", ns+"/refship/head", ns+"/refship/node/web")
	before := fixture.Dump(t, e.Client())
	report, alive := ns+"/refship/node/web", ns+"/refship/alive/web"
	kv := etcd.Bounded(client)
	one := func(op clientv3.Op) func() error {
		return func() error { _, err := kv.Txn(ctx).Then(op).Commit(); return err }
	}
	for name, try := range map[string]func() error{
		"the head":            one(clientv3.OpPut(ns+"/refship/head", "8")),
		"the rollout":         one(clientv3.OpPut(ns+"/refship/rollout", "x")),
		"the rollout's owner": one(clientv3.OpPut(ns+"/refship/rollout-owner", "x", clientv3.WithLease(own))),
		"another node":        one(clientv3.OpPut(ns+"/refship/node/other", "x")),
		"a name beyond":       one(clientv3.OpPut(report+"2", "x")),
		"below it":            one(clientv3.OpPut(report+"/x", "x")),
		"an empty suffix":     one(clientv3.OpPut(report+".", "x")),
		"two suffixes":        one(clientv3.OpPut(report+".a/../b", "x")),
		"a sibling":           one(clientv3.OpPut(ns+"-staging/refship/node/web", "x")),
		"a large report":      one(clientv3.OpPut(report, strings.Repeat("x", 16<<10+1))),
		"a report on a lease": one(clientv3.OpPut(report, "x", clientv3.WithLease(own))),
		"alive for ever":      one(clientv3.OpPut(alive, "")),
		"alive on a foreign":  one(clientv3.OpPut(alive, "", clientv3.WithLease(foreign))),
		"with what was there": one(clientv3.OpPut(report, "x", clientv3.WithPrevKV())),
		"a delete":            one(clientv3.OpDelete(report)),
		"a plain put":         func() error { _, err := client.Put(ctx, ns+"/refship/hold", "x"); return err },
		"a long lease":        func() error { _, err := etcd.Grant(ctx, client, 3600); return err },
		"a foreign lease's end": func() error {
			_, err := client.Revoke(ctx, foreign)
			return err
		},
		"a foreign lease's life": func() error { _, err := client.KeepAliveOnce(ctx, foreign); return err },
		"an id of its choice": func() error {
			_, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: 77, TTL: 60})
			return err
		},
		"all leases": func() error { _, err := client.Leases(ctx); return err },
	} {
		err := etcd.Classify(try())
		if !errors.Is(err, etcd.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 15 {
		if _, err := etcd.Grant(ctx, client, 60); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := etcd.Grant(ctx, client, 60); !errors.Is(err, etcd.ErrDenied) {
		t.Errorf("a 17th lease: %v", err)
	}
	if after := fixture.Dump(t, e.Client()); !cmp.Equal(before, after) {
		t.Error(cmp.Diff(before, after))
	}
}
