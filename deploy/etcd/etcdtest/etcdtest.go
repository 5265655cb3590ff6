package etcdtest

import (
	"log/slog"
	"os"
	"testing"

	"refship/deploy/etcd/embedded"
)

// New starts an etcd in a fresh directory, reached through its Client or its socket, and closes it when the test ends.
func New(t testing.TB) *embedded.Etcd {
	t.Helper()
	return Start(t, embedded.Config{})
}

// Serve starts an etcd that listens on a loopback port and gives its endpoint, "http://127.0.0.1:PORT". It is closed
// when the test ends.
func Serve(t testing.TB) (endpoint string) {
	t.Helper()
	return "http://" + Start(t, embedded.Config{Listen: "127.0.0.1:0"}).Addr()
}

// Start starts an etcd with more settings: without Dir in a fresh directory, without Log into the test's output.
func Start(t testing.TB, cfg embedded.Config) *embedded.Etcd {
	t.Helper()
	if cfg.Dir == "" {
		// t.TempDir carries the test's name: too long for a unix socket's path.
		dir, err := os.MkdirTemp("", "etcd")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		cfg.Dir = dir
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	e, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}
