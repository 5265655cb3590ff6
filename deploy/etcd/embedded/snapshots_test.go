package embedded_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// While a snapshot is read slowly, etcd takes writes, and no defragmentation, which would hold them up. Afterwards it
// does.
func TestNoDefragInASnapshot(t *testing.T) {
	dir := fixture.ShortDir(t)
	e := start(t, embedded.Config{Dir: dir})
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{etcd.Socket(dir)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	put := func(i int) {
		t.Helper()
		if _, err := e.Client().Put(t.Context(), fmt.Sprint(i), strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		put(i)
	}
	s, err := etcd.TakeSnapshot(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, s, 1000); err != nil { // the rest is more than a connection holds
		t.Fatal(err)
	}
	defrag := func(ctx context.Context) error {
		_, err := client.Defragment(ctx, etcd.Socket(dir))
		return err
	}
	if err := defrag(t.Context()); err == nil || !strings.Contains(err.Error(), "a backup reads a snapshot of etcd") {
		t.Errorf("%v", err)
	}
	put(11)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	fixture.Eventually(t, func() bool { return defrag(t.Context()) == nil })
	put(12)
}
