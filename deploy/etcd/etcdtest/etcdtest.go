package etcdtest

import (
	"log/slog"
	"os"
	"testing"

	"refship/deploy/etcd"
)

// New starts an etcd in a fresh directory, reached through its Client or its
// socket, and closes it when the test ends.
func New(t testing.TB) *etcd.Embedded {
	t.Helper()
	return start(t, etcd.EmbeddedConfig{})
}

// Serve starts an etcd that listens on a loopback port and gives its endpoint,
// "http://127.0.0.1:PORT"; it is closed when the test ends.
func Serve(t testing.TB) (endpoint string) {
	t.Helper()
	return "http://" + start(t, etcd.EmbeddedConfig{Listen: "127.0.0.1:0"}).Addr()
}

func start(t testing.TB, cfg etcd.EmbeddedConfig) *etcd.Embedded {
	t.Helper()
	// t.TempDir carries the test's name: too long for a unix socket's path.
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cfg.Dir = dir
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	e, err := etcd.Start(t.Context(), cfg)
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
