package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fixture"
	"refship/deploy/store"
)

// What a Reader finds in etcd.
func TestReadingEtcd(t *testing.T) {
	client := fixture.NewEtcd(t).Client()
	var revisions []int64
	for _, kv := range [][2]string{
		{"/n/a", "old"}, {"/n/a", "new"}, {"/n/a0", "next to a"}, {"/n/b/1", "one"}, {"/n/b/0", ""}, {"/n/a/x", "below"},
	} {
		resp, err := client.Put(t.Context(), kv[0], kv[1])
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, resp.Header.Revision)
	}
	r := store.EtcdReader(client, "/n")
	queries := []store.Query{{Key: "/n/a"}, {Key: "/n/b"}, {Key: "/n/b/0"}, {Key: "/n/a", NoValue: true}, {Key: "/n/c"}}
	found, at, err := r.Read(t.Context(), 0, queries)
	a := store.KeyValue{Key: "/n/a", Value: []byte("new"), Revision: revisions[1]}
	want := [][]store.KeyValue{
		{a}, nil, {{Key: "/n/b/0", Revision: revisions[4]}}, {{Key: "/n/a", Revision: revisions[1]}}, nil,
	}
	if diff := cmp.Diff(want, found); err != nil || at != revisions[5] || diff != "" {
		t.Errorf("at %d, %v (-want +got):\n%s", at, err, diff)
	}
	found, at, err = r.Read(t.Context(), revisions[0], queries[:1])
	want = [][]store.KeyValue{{{Key: "/n/a", Value: []byte("old"), Revision: revisions[0]}}}
	if diff := cmp.Diff(want, found); err != nil || at != revisions[0] || diff != "" {
		t.Errorf("at %d, %v (-want +got):\n%s", at, err, diff)
	}
	if _, err := client.Compact(t.Context(), revisions[5]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Read(t.Context(), revisions[0], queries); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("got %v", err)
	}
}
