package bundle_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/bundle"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
	"refship/deploy/verify"
)

// history is a chain with what a chain can have: many deploys, a large content, an empty one, a rollback, a hold, a pin.
type history struct {
	*chain.Setup
}

func newHistory(t testing.TB, deploys int) *history {
	t.Helper()
	h := &history{chain.New(t)}
	h.Store = h.NewStore(deploy.Config{LeaseTTL: time.Minute})
	var above tree.OID
	for i := range deploys {
		files := map[string]fixture.File{
			"a": {Content: fmt.Sprint(i)}, "dir/sub/empty": {}, "dir/run": {Content: "#!", Mode: "100755"},
		}
		if i == 0 {
			files["large"] = fixture.File{Content: strings.Repeat("0123456789abcdef", 200_000)}
		}
		var parents []tree.OID
		if i > 0 {
			parents = append(parents, above)
		}
		above = h.Repo.Commit(fmt.Sprint("commit ", i), files, parents...)
		if _, err := h.Publish(t.Context(), h.peeled(above)); err != nil {
			t.Fatal(err)
		}
	}
	h.Put(string(h.Namespace)+"/refship/events/1764439200000000000", `{"kind":"hold"}`)
	h.Put(string(h.Namespace)+"/refship/hold", `{"user":"ops","reason":"wait"}`)
	h.Put(string(h.Namespace)+"/refship/keep/1", `{"user":"ops"}`)
	return h
}

func (h *history) peeled(commit tree.OID) *deploy.Job {
	job := h.Job(commit)
	if err := job.Peel(h.Context()); err != nil {
		h.Fatal(err)
	}
	return job
}

// export writes a bundle and opens it.
func export(t testing.TB, from bundle.Source) *bundle.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.refship")
	if from.Now.IsZero() {
		from.Now = time.Now()
	}
	_, counts, err := bundle.Export(t.Context(), path, from)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != counts.Size || info.Mode().Perm() != 0o644 {
		t.Errorf("%+v, %v, of %+v", info, err, counts)
	}
	f, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// has is all that a bundle has.
func has(t testing.TB, f *bundle.File) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := f.All(func(key string, value []byte) { all[key] = string(value) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// proved verifies a chain, and gives how many deploys there are of each state.
func proved(t testing.TB, c *store.Chain) map[verify.State]int {
	t.Helper()
	result, err := verify.Run(t.Context(), verify.Config{Chain: c})
	if err != nil {
		t.Fatal(err)
	}
	if result.First != nil {
		t.Errorf("%d findings, the first: %s", result.Findings, result.First.What)
	}
	return result.Deploys
}

// A bundle has every key of the chain, byte by byte, and no other.
func TestExport(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 4)
	for _, live := range []string{"lock", "stored", "gc", "node/n1", "alive/n1", "rollout", "other"} {
		h.Put(string(h.Namespace)+"/refship/"+live, "x")
	}
	h.Put("/refship/config-staging/deploy/1/hash", "x")
	h.Put(string(h.Namespace)+"/other", "x")
	f := export(t, bundle.Source{Chain: h.Chain().Chain})
	want := h.Dump()
	maps.DeleteFunc(want, func(key, _ string) bool { return !bundle.Belongs(h.Namespace, key) })
	got := has(t, f)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if is, ok := got[key]; !ok || is != want[key] {
			t.Errorf("%s: %v, %d bytes of %d", key, ok, len(is), len(want[key]))
		}
	}
	if len(got) != len(want) || len(want) < 20 {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	h.Delete(string(h.Namespace) + "/refship/other")
	if states := proved(t, f.Chain()); states[verify.Unsigned] != 4 {
		t.Errorf("%v", states)
	}
	// A bundle of a bundle is the same.
	if again := has(t, export(t, bundle.Source{Chain: f.Chain()})); !maps.Equal(got, again) {
		t.Errorf("%d keys, and then %d", len(got), len(again))
	}
}

// What cannot be exported leaves no file behind.
func TestExportFails(t *testing.T) {
	t.Parallel()
	h := &history{chain.New(t)}
	h.Store = h.NewStore(deploy.Config{LeaseTTL: time.Minute})
	dir := t.TempDir()
	path := filepath.Join(dir, "site.refship")
	_, _, err := bundle.Export(t.Context(), path, bundle.Source{Chain: h.Chain().Chain})
	fixture.WantError(t, err, bundle.ErrNothing, "has no deploy yet", "")
	if _, err := h.Publish(t.Context(), h.peeled(h.Repo.Commit("one", map[string]fixture.File{"a": {Content: "a"}}))); err != nil {
		t.Fatal(err)
	}
	_, _, err = bundle.Export(t.Context(), path, bundle.Source{Chain: h.Chain().Chain, Since: time.Now().Add(time.Hour)})
	fixture.WantError(t, err, bundle.ErrNothing, "deploy 1 of /refship/config, the newest, came before", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = bundle.Export(ctx, path, bundle.Source{Chain: h.Chain().Chain}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = bundle.Export(t.Context(), path, bundle.Source{Chain: h.Chain().Chain})
	fixture.WantFault(t, fault.Failed, err, "exists", "another name")
	if text, err := os.ReadFile(path); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
}

// A bundle since a deploy has the history of all, and the files of those from there on: those of earlier ones are
// expired, but not what is pinned.
func TestExportSince(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 5)
	whole := has(t, export(t, bundle.Source{Chain: h.Chain().Chain}))
	fourth, err := h.Chain().Get(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, pinned := range []bool{true, false} {
		if !pinned {
			h.Delete(string(h.Namespace) + "/refship/keep/1")
		}
		f := export(t, bundle.Source{Chain: h.Chain().Chain, Since: fourth.Record.Time})
		if f.Header.Since == 1 || f.Header.Since > 4 || f.Header.Head != 5 {
			t.Fatalf("%+v", f.Header) // several may have come in one millisecond
		}
		large := false
		for key, value := range has(t, f) {
			large = large || strings.Contains(key, "/storage/") && len(value) == tree.ChunkSize
			if is := whole[key]; is != value && key != string(h.Namespace)+"/refship/expired" {
				t.Errorf("%s has %d bytes of %d", key, len(value), len(is))
			}
		}
		if large != pinned {
			t.Errorf("the first deploy is pinned: %v, and its large content is there: %v", pinned, large)
		}
		states, since := proved(t, f.Chain()), int(f.Header.Since)
		want := map[verify.State]int{verify.Unsigned: 6 - since, verify.Gone: since - 1}
		if pinned {
			want[verify.Unsigned]++
			want[verify.Gone]--
		}
		if want[verify.Gone] == 0 {
			delete(want, verify.Gone)
		}
		if !maps.Equal(states, want) {
			t.Errorf("%v, want %v", states, want)
		}
	}
}

// cutOff lets some txns that write through, and no more.
type cutOff struct {
	clientv3.KV
	left atomic.Int64
}

type cutTxn struct {
	clientv3.Txn
	kv     *cutOff
	writes bool
}

func (c *cutOff) Txn(ctx context.Context) clientv3.Txn { return &cutTxn{c.KV.Txn(ctx), c, false} }

func (t *cutTxn) If(ifs ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(ifs...)
	return t
}

func (t *cutTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.writes = slices.ContainsFunc(ops, clientv3.Op.IsPut)
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *cutTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

// all of them are let through, for the next thousands of millions.
const all = math.MinInt64 / 4

var errCut = errors.New("cut off")

func (t *cutTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.writes {
		if n := t.kv.left.Add(-1); n < 0 && n > all {
			return nil, errCut
		}
	}
	return t.Txn.Commit()
}

// into imports a bundle into the namespace of an etcd, whose chain it locks.
func into(t testing.TB, f *bundle.File, client *etcd.Client, room func(int64) error) (there bool, err error) {
	t.Helper()
	s := deploy.NewStore(client, deploy.Config{LeaseTTL: time.Minute, Log: fixture.Log(t)})
	defer func() { _ = s.Close(context.WithoutCancel(t.Context())) }()
	return intoStore(t, f, client, s, room)
}

func intoStore(
	t testing.TB, f *bundle.File, client *etcd.Client, s *deploy.Store, room func(int64) error,
) (there bool, err error) {
	lock, err := s.Chain(f.Header.Namespace).Lock(t.Context(), record.Holder{User: "ops"}, time.Minute,
		func(record.Holder, time.Duration) {})
	if err != nil {
		return false, err
	}
	defer func() { _ = lock.Unlock(context.WithoutCancel(t.Context())) }()
	if room == nil {
		room = func(int64) error { return nil }
	}
	return f.Import(t.Context(), bundle.Target{
		Client: client, Held: lock.Held(), Who: record.Hold{User: "ops", Since: time.Now().UTC()}, Room: room,
	})
}

// A copy has every key of the chain, verifies as the same, and can be imported again. What is not the same is refused,
// and nothing of it is changed.
func TestImport(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 3)
	f := export(t, bundle.Source{Chain: h.Chain().Chain})
	client := fixture.NewEtcd(t).Client()
	want := has(t, f)
	for _, already := range []bool{false, true} {
		if there, err := into(t, f, client, nil); err != nil || there != already {
			t.Fatal(there, err)
		}
		got := fixture.Dump(t, client)
		for key, is := range got {
			if value, ok := want[key]; ok && is != value || !ok && bundle.Belongs(h.Namespace, key) {
				t.Errorf("%s has %d bytes of %d", key, len(is), len(value))
			}
		}
		for key := range want {
			if _, ok := got[key]; !ok {
				t.Errorf("%s is missing", key)
			}
		}
		if states := proved(t, store.Open(client, h.Namespace)); states[verify.Unsigned] != 3 {
			t.Errorf("%v", states)
		}
	}
	for key, value := range map[string]string{
		string(h.Namespace) + "/deploy/2/hash":                                        "other",
		string(h.Namespace) + "/deploy/4/hash":                                        "new",
		string(h.Namespace) + "/refship/other":                                        "new",
		string(h.Namespace) + "/storage/{sha256}" + strings.Repeat("5d", 32):          "new",
		string(h.Namespace) + "/refship/hold":                                         `{"user":"ops","reason":"another"}`,
		string(h.Namespace) + "/refship/object/" + strings.Repeat("5d", 20):           "new",
		string(h.Namespace) + "/fs/deploy/1-0629e604-e4c8-4947-828a-bb064e6bb467":     "new",
		string(h.Namespace) + "/refship/events/" + strings.Repeat("1", 19):            "new",
		string(h.Namespace) + "/refship/tree/" + strings.Repeat("5d", 20) + "/0/x/..": "new",
	} {
		if _, err := client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		before := fixture.Dump(t, client)
		_, err := into(t, f, client, nil)
		fixture.WantReason(t, fault.Conflict, err, string(bundle.ReasonNotEmpty)+" /refship/config")
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
		if after := fixture.Dump(t, client); !maps.Equal(before, after) {
			t.Errorf("%s: something was changed", key)
		}
		if value, ok := want[key]; ok {
			_, err = client.Put(t.Context(), key, value)
		} else {
			_, err = client.Delete(t.Context(), key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// What only says what goes on in that etcd is passed over.
	for _, live := range []string{"node/n1", "alive/n1", "gc", "stored"} {
		if _, err := client.Put(t.Context(), string(h.Namespace)+"/refship/"+live, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := into(t, f, client, nil); err != nil || !there {
		t.Error(there, err)
	}
}

// An import that is cut off after any of its writes leaves a chain that nobody can deploy onto. The next one completes
// it.
func TestImportIsCutOff(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 70) // three txns of deploys
	h.Delete(string(h.Namespace) + "/refship/hold")
	f := export(t, bundle.Source{Chain: h.Chain().Chain})
	want := has(t, f)
	client := fixture.NewEtcd(t).Client()
	kv := &cutOff{KV: client.KV}
	client.KV = kv
	s := deploy.NewStore(client, deploy.Config{LeaseTTL: time.Minute, Log: fixture.Log(t)})
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	cuts, visible := 0, 0
	for allowed := int64(1); ; allowed = min(allowed+1, 3) { // the lock, the hold, and one more each time
		kv.left.Store(allowed)
		_, err := intoStore(t, f, client, s, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		cuts++
		kv.left.Store(2 * all)
		chain := s.Chain(h.Namespace)
		state, err := chain.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if allowed > 1 && (state.Hold == nil || !strings.Contains(state.Hold.Reason, "import it again")) {
			t.Fatalf("cut off after %d txns: the hold is %v, the head %v", allowed, state.Hold, state.Head)
		}
		if state.Head != nil {
			visible++ // all deploys are there, and the hint at the head is not
			if state.Head.ID != 70 {
				t.Fatalf("the %d. cut: the head is %d", cuts, state.Head.ID)
			}
		}
	}
	if cuts < 6 || visible != 1 {
		t.Errorf("cut off %d times, and %d of them after the last deploy", cuts, visible)
	}
	kv.left.Store(2 * all)
	for key, is := range fixture.Dump(t, client) {
		if value, ok := want[key]; ok && is != value || !ok && bundle.Belongs(h.Namespace, key) {
			t.Errorf("%s has %d bytes of %d", key, len(is), len(value))
		}
	}
	if states := proved(t, store.Open(client, h.Namespace)); states[verify.Unsigned] != 70 {
		t.Errorf("%v", states)
	}
}

// No room: nothing is put.
func TestImportWithoutRoom(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 2)
	f := export(t, bundle.Source{Chain: h.Chain().Chain})
	client := fixture.NewEtcd(t).Client()
	full := errors.New("no room")
	asked := int64(0)
	_, err := into(t, f, client, func(bytes int64) error {
		asked = bytes
		return full
	})
	if !errors.Is(err, full) || asked != f.Bytes() || len(fixture.Dump(t, client)) != 0 {
		t.Errorf("%v, %d bytes asked for, there are %v", err, asked, slices.Sorted(maps.Keys(fixture.Dump(t, client))))
	}
}

// A lock that was lost ends an import: another deploys there perhaps.
func TestImportWithoutLock(t *testing.T) {
	t.Parallel()
	h := newHistory(t, 2)
	f := export(t, bundle.Source{Chain: h.Chain().Chain})
	client := fixture.NewEtcd(t).Client()
	_, err := f.Import(t.Context(), bundle.Target{
		Client: client, Held: clientv3.Compare(clientv3.CreateRevision(string(h.Namespace)+"/refship/lock"), "=", 7),
		Room: func(int64) error { return nil },
	})
	if !errors.Is(err, bundle.ErrLockLost) || len(fixture.Dump(t, client)) != 0 {
		t.Errorf("%v, there are %d keys", err, len(fixture.Dump(t, client)))
	}
}

// What is no file is not waited for.
func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, what := range map[string]string{
		fifo: "fifo is no file", dir: "is no file", filepath.Join(dir, "none"): "no such file",
	} {
		if _, err := bundle.Open(path); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for name, want := range map[string]bool{
		"./x": true, "../x": true, "/x": true, "a/b.refship": true, "./a@b/x": true,
		"x.refship": false, "a/b": false, "site": false, "site:target": false, "ssh://host/site": false, "": false,
	} {
		if got := bundle.IsOf(name); got != want {
			t.Errorf("%q is a bundle's name: %v", name, got)
		}
	}
}
