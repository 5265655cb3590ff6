package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// put writes a value of some size.
func put(t *testing.T, e *embedded.Etcd, key string, size int) error {
	t.Helper()
	_, err := e.Client().Put(t.Context(), key, strings.Repeat("x", size))
	return etcd.Classify(err)
}

// A full etcd takes no write, through any restart, until it is started with more room, or has something to give back.
func TestReclaim(t *testing.T) {
	dir := fixture.ShortDir(t)
	key := func(i int) string { return fmt.Sprint(i) }
	for _, c := range []struct {
		quota int64
		key   func(int) string
		full  bool // before it is filled
	}{
		{12 << 20, key, false},
		{12 << 20, key, true},
		{24 << 20, func(int) string { return "the same" }, false},               // now there is room, then it is used up
		{24 << 20, func(i int) string { return fmt.Sprint("more ", i) }, false}, // what was overwritten gave some back
	} {
		e := start(t, embedded.Config{Dir: dir, Quota: c.quota})
		space, err := e.Reclaim(t.Context())
		if err != nil || space.Quota != c.quota || space.NoSpace != c.full || embedded.HasRoom(space) == c.full {
			t.Fatalf("%+v, %v, want full: %v", space, err, c.full)
		}
		if err := put(t, e, "small", 1<<10); !c.full && err != nil {
			t.Errorf("%+v, put: %v", space, err)
		}
		for i := 0; err == nil; i++ {
			if err = put(t, e, c.key(i), 128<<10); i > 1024 {
				t.Fatal("it does not become full")
			}
		}
		if !errors.Is(err, etcd.ErrFull) {
			t.Errorf("quota %d: %v", c.quota, err)
		}
		closeEtcd(t, e)
	}
}

// A defragmentation waits until it may begin, and is told of an error; nothing is done then.
func TestBeforeDefrag(t *testing.T) {
	t.Parallel()
	e := start(t, embedded.Config{})
	defer closeEtcd(t, e)
	var calls []string
	e.BeforeDefrag(func(context.Context) (func(), error) {
		calls = append(calls, "begin")
		return func() { calls = append(calls, "done") }, nil
	})
	if _, err := e.MakeRoom(t.Context()); err != nil || strings.Join(calls, " ") != "begin done" {
		t.Errorf("%v, %v", calls, err)
	}
	e.BeforeDefrag(func(context.Context) (func(), error) { return nil, errors.New("not now") })
	if _, err := e.MakeRoom(t.Context()); err == nil || !strings.HasSuffix(err.Error(), "not now") {
		t.Errorf("%v", err)
	}
}

// etcd's own setting of how much memory a defragmentation takes is found where this program looks for it.
func TestDefragIsBounded(t *testing.T) {
	if embedded.UnboundedDefragLimit != 10_000 {
		t.Errorf("etcd copies %d keys at once", embedded.UnboundedDefragLimit)
	}
	closeEtcd(t, start(t, embedded.Config{}))
	if got := *embedded.DefragLimit; got != 128 {
		t.Errorf("etcd copies %d keys at once", got)
	}
}
