package etcd_test

import (
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	client := fixture.NewEtcd(t).Client()
	changed, stop := etcd.Changes(t.Context(), client, etcd.Span{Key: "/a"}, etcd.Span{Key: "/b/", Below: true})
	defer stop()
	put := func(key string) {
		t.Helper()
		if _, err := client.Put(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	// Each watch tells that it has begun, which may be told as one: from the first change of a key that is told on,
	// its watch is there.
	for _, key := range []string{"/a", "/b/c"} {
		<-changed
		put(key)
	}
	<-changed
	drain := func() (n int) {
		for {
			select {
			case <-changed:
				n++
			default:
				return n
			}
		}
	}
	drain()
	put("/b/d")
	<-changed
	put("/a")
	<-changed
	put("/abc") // no key of theirs; what comes next is
	put("/b/e")
	<-changed
}
