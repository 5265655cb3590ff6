package embedded_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// snapshotOf writes a snapshot into a file.
func snapshotOf(t *testing.T, dir string) (path string) {
	t.Helper()
	client, err := etcd.Dial(t.Context(), etcd.Config{Endpoints: []string{etcd.Socket(dir)}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := etcd.TakeSnapshot(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A restored etcd has what the snapshot had, with higher revisions. A watch from a revision that the lost etcd had
// reached after it ends at once, and does not wait for that revision to come again.
func TestRestore(t *testing.T) {
	from := fixture.ShortDir(t)
	old := start(t, embedded.Config{Dir: from})
	put := func(e *embedded.Etcd, key, value string) int64 {
		t.Helper()
		resp, err := e.Client().Put(t.Context(), key, value)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Header.Revision
	}
	put(old, "/a", "1")
	put(old, "/gone", "1")
	if _, err := old.Client().Delete(t.Context(), "/gone"); err != nil {
		t.Fatal(err)
	}
	taken := put(old, "/b", "2")
	path := snapshotOf(t, from)
	seen := put(old, "/b", "after the snapshot")

	dir := filepath.Join(fixture.ShortDir(t), "etcd")
	if err := embedded.Restore(dir, path, fixture.Log(t)); err != nil {
		t.Fatal(err)
	}
	e := start(t, embedded.Config{Dir: dir})
	got := fixture.Dump(t, e.Client())
	if len(got) != 2 || got["/a"] != "1" || got["/b"] != "2" {
		t.Errorf("restored: %v", got)
	}
	if empty, err := etcd.IsEmpty(t.Context(), e.Client()); err != nil || empty {
		t.Errorf("empty: %v, %v", empty, err)
	}
	if now := put(e, "/b", "3"); now < taken+1_000_000 || now <= seen {
		t.Errorf("the next revision is %d; the snapshot is of %d, and %d was seen", now, taken, seen)
	}
	watch := <-e.Client().Watch(t.Context(), "/b", clientv3.WithRev(seen+1))
	if err := watch.Err(); !errors.Is(err, rpctypes.ErrCompacted) {
		t.Errorf("a watch from revision %d: %+v, %v", seen+1, watch, err)
	}
	closeEtcd(t, e)
	e = start(t, embedded.Config{Dir: dir}) // what etcd itself has written there is sound, too
	if got := fixture.Dump(t, e.Client()); got["/b"] != "3" {
		t.Errorf("restarted: %v", got)
	}
}

// A snapshot with damage anywhere is refused.
func TestRestoreOfDamage(t *testing.T) {
	from := fixture.ShortDir(t)
	old := start(t, embedded.Config{Dir: from})
	if _, err := old.Client().Put(t.Context(), "/a", "1"); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(snapshotOf(t, from))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(sound); at += 509 {
		damaged := append([]byte{}, sound...)
		damaged[at] ^= 1
		refused(t, damaged)
	}
	for _, size := range []int{0, 1, 31, 32, 4096, len(sound) - 4096, len(sound) - 32, len(sound) - 1} {
		refused(t, sound[:size])
	}
}

func refused(t *testing.T, snapshot []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(path, snapshot, 0o600); err != nil {
		t.Fatal(err)
	}
	err := embedded.Restore(filepath.Join(t.TempDir(), "etcd"), path, fixture.Log(t))
	if !fault.Is(err, fault.Corrupt) {
		t.Errorf("%d bytes: %v", len(snapshot), err)
	}
}
