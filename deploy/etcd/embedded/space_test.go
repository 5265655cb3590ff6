package embedded_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// A full etcd takes no write, through any restart, until it is started with more room. Its alarm stays on where the
// room is the same.
func TestMoreRoomDisarms(t *testing.T) {
	dir := fixture.ShortDir(t)
	put := func(e *embedded.Etcd, key string, size int) error {
		_, err := e.Client().Put(t.Context(), key, strings.Repeat("x", size))
		return etcd.Classify(err)
	}
	for _, c := range []struct {
		quota int64
		full  bool
	}{{4 << 20, true}, {4 << 20, true}, {16 << 20, false}, {4 << 20, true}} {
		e := start(t, embedded.Config{Dir: dir, Quota: c.quota})
		space, err := e.Disarm(t.Context())
		if err != nil || space.Quota != c.quota {
			t.Fatalf("%+v, %v", space, err)
		}
		if err := put(e, "small", 1); !c.full && (err != nil || space.NoSpace) {
			t.Errorf("quota %d: %+v, put: %v", c.quota, space, err)
		}
		for i := 0; err == nil && c.full; i++ {
			if err = put(e, fmt.Sprint(i), 1<<20); i > 8 {
				t.Fatal("it does not become full")
			}
		}
		if c.full && !errors.Is(err, etcd.ErrFull) {
			t.Errorf("quota %d: %v", c.quota, err)
		}
		closeEtcd(t, e)
	}
}
