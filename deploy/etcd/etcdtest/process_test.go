package etcdtest_test

import (
	"errors"
	"strings"
	"testing"

	"refship/deploy/etcd"
	"refship/deploy/etcd/etcdtest"
)

// A cluster keeps what it has while a member dies and comes back, and while one stands still. With two of three dead it
// has no leader, and the one that is left says so.
func TestCluster(t *testing.T) {
	t.Parallel()
	members := etcdtest.StartCluster(t, 3)
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: etcdtest.URLs(members)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	kv := etcd.Bounded(client)
	put := func(key string) {
		t.Helper()
		w := etcd.NewWriter(t.Context(), kv)
		if err := w.Put(key, []byte("value")); err != nil {
			t.Fatal(err)
		}
		if err := w.Barrier(); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	put("all")
	leader, err := etcdtest.Leader(t.Context(), client, members)
	if err != nil {
		t.Fatal(err)
	}
	leader.Kill()
	second, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: etcdtest.URLs(members)})
	if err != nil {
		t.Errorf("dialled during an election: %v", err)
	} else {
		second.Close()
	}
	put("leader killed")
	if err := leader.Restart(); err != nil {
		t.Fatal(err)
	}
	put("back")
	leader, err = etcdtest.Leader(t.Context(), client, members)
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Pause(); err != nil {
		t.Fatal(err)
	}
	put("leader paused")
	if err := leader.Resume(); err != nil {
		t.Fatal(err)
	}
	put("resumed")
	exist, err := etcd.Exist(t.Context(), kv, []string{"all", "leader killed", "back", "leader paused", "resumed"})
	if err != nil {
		t.Fatal(err)
	}
	for i, there := range exist {
		if !there {
			t.Errorf("key %d is gone", i)
		}
	}
	members[0].Kill()
	members[1].Kill()
	_, err = etcd.Exist(t.Context(), kv, []string{"all"})
	if !errors.Is(err, etcd.ErrUnreachable) || !strings.Contains(err.Error(), "no leader") {
		t.Errorf("with two of three dead: %v", err)
	}
}
