package gc_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/gc"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const namespace = "/refship/config"

// setup is one chain in a real etcd and a real git repository.
type setup struct{ *chain.Setup }

func newSetup(t testing.TB) *setup {
	t.Helper()
	f := &setup{chain.New(t)}
	f.Store = f.newStore()
	return f
}

func (f *setup) newStore() *deploy.Store { return f.newStoreFor(time.Minute) }

// newStoreFor makes a Store whose locks end so long after it.
func (f *setup) newStoreFor(ttl time.Duration) *deploy.Store {
	return f.NewStore(deploy.Config{LeaseTTL: ttl})
}

// files are contents by path.
type files map[string]string

func (f *setup) commit(all files, parents ...tree.OID) tree.OID {
	f.Helper()
	named := map[string]fixture.File{}
	for path, content := range all {
		named[path] = fixture.File{Content: content}
	}
	return f.Repo.Commit("a commit", named, parents...)
}

// deploy publishes a commit that has exactly these files, after the head's.
func (f *setup) deploy(all files) *record.Deploy {
	f.Helper()
	head, err := f.Chain().Head(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	var parents []tree.OID
	if head != nil && head.Hash != "" {
		parents = append(parents, head.Hash.OID())
	}
	d, err := f.Publish(f.Context(), f.Job(f.commit(all, parents...)))
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// collect runs gc, which keeps the newest so many deploys.
func (f *setup) collect(keep int, change ...func(*gc.Config)) (*gc.Result, []gc.Gone) {
	f.Helper()
	var gone []gc.Gone
	cfg := gc.Config{
		Store: f.Store, Who: record.Holder{User: "ops"}, KeepLast: keep, Progress: chain.Quiet,
		Gone: func(g gc.Gone) { gone = append(gone, g) },
	}
	for _, change := range change {
		change(&cfg)
	}
	result, err := gc.Run(f.Context(), cfg, f.Namespace)
	if err != nil {
		f.Fatal(err)
	}
	return result, gone
}

func dryRun(cfg *gc.Config) { cfg.DryRun = true }

// content are the keys of nodes, contents and superblocks.
func (f *setup) content() map[string]string {
	f.Helper()
	all := f.Dump()
	nodes, contents, blocks := f.Chain().ContentPrefixes()
	maps.DeleteFunc(all, func(key, _ string) bool {
		return !strings.HasPrefix(key, nodes) && !strings.HasPrefix(key, contents) && !strings.HasPrefix(key, blocks)
	})
	return all
}

// needs are the keys that hold what the deploys have.
func (f *setup) needs(ids ...record.ID) map[string]bool {
	f.Helper()
	keys := map[string]bool{}
	for _, id := range ids {
		d, err := f.Chain().Get(f.Context(), id)
		if err != nil {
			f.Fatal(err)
		}
		nodes := f.Chain().NewNodes()
		if err := nodes.LoadBelow(f.Context(), d.Record.Root()); err != nil {
			f.Fatal(err)
		}
		var add func(e tree.Entry)
		add = func(e tree.Entry) {
			for _, key := range store.ChunkKeys(f.Chain().TreeKey(e.OID), e.Size) {
				keys[key] = true
			}
			for _, e := range nodes.Node(e.OID).Entries {
				if nodes.Node(e.OID) != nil {
					add(e)
					continue
				}
				for _, key := range store.ChunkKeys(f.Chain().ContentKey(e.SHA256), e.Size) {
					keys[key] = true
				}
			}
		}
		add(d.Record.Root())
	}
	return keys
}

// read reads a deploy whole, each byte compared with its hash.
func (f *setup) read(id record.ID) error {
	f.Helper()
	c := f.Chain()
	d, err := c.Get(f.Context(), id)
	if err != nil {
		return err
	}
	var paths []string
	if err := c.List(f.Context(), d, "", true, func(path string, _ tree.Entry) error {
		paths = append(paths, path)
		return nil
	}); err != nil {
		return err
	}
	for _, path := range paths {
		if err := c.Cat(f.Context(), d, io.Discard, path); err != nil {
			return err
		}
	}
	return nil
}

// wantWhole wants deploys to be whole.
func (f *setup) wantWhole(ids ...record.ID) {
	f.Helper()
	for _, id := range ids {
		if err := f.read(id); err != nil {
			f.Errorf("deploy %d: %v", id, err)
		}
	}
}

// wantExpired wants reading a deploy to say that it is expired.
func (f *setup) wantExpired(ids ...record.ID) {
	f.Helper()
	for _, id := range ids {
		err := f.read(id)
		if err == nil || !strings.Contains(err.Error(), "is expired") {
			f.Errorf("deploy %d: %v, want expired", id, err)
		}
	}
}

// wantStored wants NS/refship/stored to be what a count of all keys gives.
func (f *setup) wantStored() {
	f.Helper()
	state, err := f.Chain().State(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if state.Stored == nil {
		f.Fatal("it is not counted")
	}
	const overhead = 400
	held := int64(0)
	for key, value := range f.Dump() {
		own := strings.TrimPrefix(key, namespace+"/refship/")
		if own == key || strings.HasPrefix(own, "tree/") || strings.HasPrefix(own, "object/") {
			held += int64(len(value)) + overhead
		}
	}
	if state.Stored.Bytes != held {
		f.Errorf("stored are %d bytes, counted %d", held, state.Stored.Bytes)
	}
}

// lost are the keys that one dump has and a later one has not, and the bytes of their values.
func lost(before, after map[string]string) (keys []string, bytes int64) {
	for key, value := range before {
		if _, ok := after[key]; !ok {
			keys = append(keys, key)
			bytes += int64(len(value))
		}
	}
	slices.Sort(keys)
	return keys, bytes
}

// faulty is an etcd that fails now and then: before it does what it is asked for, or after.
type faulty struct {
	clientv3.KV
	fail func() (before, after bool)
}

var errFaulty = errors.New("injected")

func (k *faulty) Txn(ctx context.Context) clientv3.Txn { return &faultyTxn{k.KV.Txn(ctx), k} }

type faultyTxn struct {
	clientv3.Txn
	kv *faulty
}

func (t *faultyTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { t.Txn = t.Txn.If(cs...); return t }
func (t *faultyTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(ops...); return t }
func (t *faultyTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }

func (t *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	before, after := t.kv.fail()
	if before {
		return nil, errFaulty
	}
	resp, err := t.Txn.Commit()
	if after {
		return nil, errFaulty
	}
	return resp, err
}
