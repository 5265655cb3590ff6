package gate_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/etcd/gate"
	"refship/deploy/fixture"
)

const ns = "/refship/config"

func TestMain(m *testing.M) { fixture.Main(m) }

// pair gives both ends of a stream.
func pair(tb testing.TB) (near, far net.Conn) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			tb.Fatal(err)
		}
		_ = f.Close() // ends[i] has its own
	}
	return ends[0], ends[1]
}

// serve opens a gate to an etcd. It gives the client's end, and what delivers the error that Serve ends with. The gate
// ends with the test.
func serve(ctx context.Context, tb testing.TB, client *etcd.Client, namespace string) (net.Conn, <-chan error) {
	tb.Helper()
	near, far := pair(tb)
	served := make(chan error, 1)
	go func() {
		defer close(served)
		served <- gate.NewServer(client).Serve(ctx, far, gate.Visitor{Namespace: namespace, Key: "SHA256:key"})
	}()
	tb.Cleanup(func() {
		near.Close()
		for range served { // until it is closed
		}
	})
	return near, served
}

// through gives a client that reaches an etcd through a gate.
func through(tb testing.TB, client *etcd.Client, namespace string) *etcd.Client {
	tb.Helper()
	near, _ := serve(tb.Context(), tb, client, namespace)
	dialled, named, err := etcd.DialStream(tb.Context(), near, fixture.Log(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = dialled.Close() })
	if named != namespace {
		tb.Errorf("the gate says that it is for %q, not %q", named, namespace)
	}
	return dialled
}

// dial gives a client on a stream.
func dial(tb testing.TB, stream io.ReadWriteCloser) *etcd.Client {
	tb.Helper()
	client, _, err := etcd.DialStream(tb.Context(), stream, fixture.Log(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client
}

// put writes keys, past the gate.
func put(tb testing.TB, e *embedded.Etcd, value string, keys ...string) {
	tb.Helper()
	for _, key := range keys {
		if _, err := e.Client().Put(tb.Context(), key, value); err != nil {
			tb.Fatal(err)
		}
	}
}

// dialUser gives a client of a user whose password is "secret", or of none.
func dialUser(tb testing.TB, p *fixture.Process, user string) *etcd.Client {
	tb.Helper()
	cfg := etcd.Config{Endpoints: []string{p.URL()}, DialTimeout: time.Minute, Log: fixture.Log(tb)}
	if user != "" {
		cfg.User, cfg.Password = user, "secret"
	}
	client, err := etcd.Dial(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client
}
