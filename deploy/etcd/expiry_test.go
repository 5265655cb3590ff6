package etcd_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// enableAuth makes the user ship, which may do anything below /ours/.
func enableAuth(t *testing.T, root *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.UserAdd(ctx, "ship", "pass:word"); return err },
		func() error { _, err := root.RoleAdd(ctx, "shipper"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "shipper", "/ours/", "/ours0",
				clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserGrantRole(ctx, "ship", "shipper"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// With a stock etcd of Debian's, whose tokens expire within a second: requests, watches and leases go on.
func TestExpiredToken(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, []string{"server"}, nil)
	p := fixture.StartProcess(t, "--bcrypt-cost=4",
		"--auth-token=jwt,sign-method=ES256,ttl=1s,pub-key="+ca.File("server.crt")+",priv-key="+ca.File("server.key"))
	root := dial(t, etcd.Config{Endpoints: []string{p.URL()}})
	enableAuth(t, root)
	client := dial(t, etcd.Config{Endpoints: []string{p.URL()}, User: "ship", Password: "pass:word"})
	kv := etcd.Bounded(client)
	session, err := concurrency.NewSession(client, concurrency.WithTTL(12)) // a machine may stand still for some of them
	if err != nil {
		t.Fatal(err)
	}
	watch := func(key string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		events := client.Watch(ctx, key)
		if _, err := kv.Put(ctx, key, "value"); err != nil {
			t.Fatal(err)
		}
		select {
		case resp := <-events:
			if resp.Err() != nil || len(resp.Events) != 1 {
				t.Errorf("watch: %+v, %v", resp, resp.Err())
			}
		case <-ctx.Done():
			t.Error("nothing comes from the watch")
		}
	}
	watch("/ours/before")
	for range 3 {
		awaitExpiry(t, p.Client)
		w := etcd.NewWriter(t.Context(), kv)
		if err := errors.Join(w.Put("/ours/after", []byte("value")), w.Barrier()); err != nil {
			t.Error(err)
		}
		if _, err := etcd.ReadSpace(t.Context(), client); err != nil {
			t.Error(err)
		}
		awaitExpiry(t, p.Client)
		watch("/ours/watched")
	}
	// It is renewed while token after token expires: at once, and then every third of the time that it has.
	renewals, err := client.KeepAlive(t.Context(), session.Lease())
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // then the lease was granted longer ago than it lives
		awaitExpiry(t, p.Client)
		if <-renewals == nil {
			t.Fatal("the lease is no longer renewed")
		}
	}
	select {
	case <-session.Done():
		t.Error("the lease has run out")
	default:
	}
	if ttl, err := client.TimeToLive(t.Context(), session.Lease()); err != nil || ttl.TTL <= 0 {
		t.Errorf("%+v, %v", ttl, err)
	}
}

// awaitExpiry logs in, and waits until that token, and with it every older one, has expired.
func awaitExpiry(t *testing.T, addr string) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	resp, err := pb.NewAuthClient(conn).Authenticate(t.Context(),
		&pb.AuthenticateRequest{Name: "ship", Password: "pass:word"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), rpctypes.TokenFieldNameGRPC,
		resp.Token), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("/ours/before")})
		if errors.Is(rpctypes.Error(err), rpctypes.ErrInvalidAuthToken) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the token does not expire: %v", err)
		}
	}
}

// A token that etcd has forgotten is renewed, too.
func TestForgottenToken(t *testing.T) {
	t.Parallel()
	p := fixture.StartProcess(t, "--bcrypt-cost=4")
	root := dial(t, etcd.Config{Endpoints: []string{p.URL()}})
	enableAuth(t, root)
	kv := etcd.Bounded(dial(t, etcd.Config{Endpoints: []string{p.URL()}, User: "ship", Password: "pass:word"}))
	admin := dial(t, etcd.Config{Endpoints: []string{p.URL()}, User: "root", Password: "secret"})
	put := func() {
		t.Helper()
		w := etcd.NewWriter(t.Context(), kv)
		if err := errors.Join(w.Put("/ours/key", nil), w.Barrier()); err != nil { // one that hangs ends with an error
			t.Error(err)
		}
	}
	put()
	// A change of roles ends all tokens of etcd's simple kind, and after that a restart forgets them.
	if _, err := admin.RoleAdd(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.UserGrantRole(t.Context(), "ship", "another"); err != nil {
		t.Fatal(err)
	}
	put()
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	put()
}
