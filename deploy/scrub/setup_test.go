package scrub_test

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/scrub"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/keys"
)

// setup is a chain in a real etcd, and the repository that is deployed into it.
type setup struct {
	testing.TB
	client  *clientv3.Client
	direct  clientv3.KV // past tap
	tap     *tap
	store   *deploy.Store
	repo    *fixture.Repository
	target  scrub.Target
	signer  ssh.Signer
	signers *keys.AllowedSigners // nil: not known
	found   []scrub.Finding      // of the last scrub
	gentle  bool
}

func newSetup(t testing.TB) *setup {
	t.Helper()
	f := &setup{TB: t, client: fixture.NewEtcd(t).Client(), repo: fixture.NewRepository(t), signer: fixture.Signer(1)}
	f.direct = f.client.KV
	f.tap = &tap{KV: f.direct}
	f.client.KV = f.tap
	f.signers = new(keys.AllowedSigners)
	f.signers.Merge(keys.NewAllowedSigners("server", &keys.Signer{
		Principals: "server", Namespaces: keys.Namespace, PublicKey: f.signer.PublicKey(),
	}))
	f.store = deploy.NewStore(f.client, deploy.Config{
		LeaseTTL: time.Minute, Log: slog.New(slog.DiscardHandler),
		Signers: func() (*keys.AllowedSigners, error) { return f.signers, nil },
	})
	t.Cleanup(func() { _ = f.store.Close(context.WithoutCancel(t.Context())) })
	f.target = scrub.Target{Repository: "config", GitDir: f.repo.Dir, Namespace: "/refship/config"}
	return f
}

// tap calls a function, once, before the next txn that compares something.
type tap struct {
	clientv3.KV
	before func()
}

func (k *tap) Txn(ctx context.Context) clientv3.Txn { return &tapTxn{Txn: k.KV.Txn(ctx), tap: k} }

type tapTxn struct {
	clientv3.Txn
	tap      *tap
	compares bool
}

func (t *tapTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.compares = t.compares || len(cs) > 0
	t.Txn = t.Txn.If(cs...)
	return t
}
func (t *tapTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(ops...); return t }
func (t *tapTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }

func (t *tapTxn) Commit() (*clientv3.TxnResponse, error) {
	if before := t.tap.before; t.compares && before != nil {
		t.tap.before = nil
		before()
	}
	return t.Txn.Commit()
}

// untrusting does something while it is not known whose signatures count.
func (f *setup) untrusting(do func()) {
	signers := f.signers
	f.signers = nil
	do()
	f.signers = signers
}

func quiet(text.Progress) {}

// open opens the repository until the test ends.
func (f *setup) open() *git.Repository {
	f.Helper()
	repo, err := git.OpenRepository(f.Context(), f.repo.Dir, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = repo.Close() })
	return repo
}

// deploy publishes a commit.
func (f *setup) deploy(commit tree.OID, change func(*deploy.Job)) *record.Deploy {
	f.Helper()
	job := &deploy.Job{
		Kind: record.KindPush, Repo: f.open(), Commit: commit, Frontend: record.Files, Repository: "config",
		Target: "default", Ref: "refs/heads/main", Pusher: record.Pusher{Name: "ada", Via: "ssh"}, Server: "host",
		Signer: f.signer,
	}
	if change != nil {
		change(job)
	}
	chain := f.store.Chain(f.target.Namespace)
	lock, err := chain.Lock(f.Context(), record.Holder{User: "ada"}, 0, func(record.Holder, time.Duration) {})
	if err != nil {
		f.Fatal(err)
	}
	p, err := chain.Prepare(f.Context(), lock, job, quiet)
	if err == nil {
		err = p.Upload(f.Context(), quiet)
	}
	if err != nil {
		f.Fatal(err)
	}
	d, err := p.Publish(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return d
}

// scrub scrubs, and gives how many keys were repaired and not repaired.
func (f *setup) scrub() *scrub.Result {
	f.Helper()
	f.found = nil
	result, err := scrub.Run(f.Context(), scrub.Config{
		Store: f.store, Gentle: f.gentle, Progress: quiet,
		Found: func(found scrub.Finding) { f.found = append(f.found, found) },
	}, f.target)
	if err != nil {
		f.Fatal(err)
	}
	if n := result.Damaged(); n != len(f.found) {
		f.Errorf("%d keys were damaged, %d told: %v", n, len(f.found), f.found)
	}
	return result
}

// want wants so many keys repaired and not repaired, and etcd's keys to be these.
func (f *setup) want(what string, repaired, failed int, keys map[string]string) {
	f.Helper()
	r := f.scrub()
	if r.Repaired != repaired || r.Failed != failed {
		f.Errorf("%s: %d repaired, %d not, want %d and %d: %v", what, r.Repaired, r.Failed, repaired, failed, f.found)
	}
	now := f.dump()
	for key := range maps.Keys(merged(keys, now)) {
		if now[key] != keys[key] {
			f.Errorf("%s: %s holds %.100q, want %.100q", what, key, now[key], keys[key])
		}
	}
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func (f *setup) put(key, value string) {
	f.Helper()
	if _, err := f.direct.Put(f.Context(), key, value); err != nil {
		f.Fatal(err)
	}
}

func (f *setup) delete(key string) {
	f.Helper()
	if _, err := f.direct.Delete(f.Context(), key); err != nil {
		f.Fatal(err)
	}
}

func (f *setup) dump() map[string]string {
	f.Helper()
	return fixture.Dump(f.TB, f.direct)
}

// needed are the keys that a head needs, without those of the deploy itself and the hint.
func (f *setup) needed() []string {
	f.Helper()
	ns := string(f.target.Namespace)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.dump())), func(key string) bool {
		return strings.HasPrefix(key, ns+"/deploy/") || key == ns+"/refship/head"
	})
}

// everyKind is a commit with every kind of entry.
func (f *setup) everyKind() tree.OID {
	f.Helper()
	return f.repo.Commit("one", map[string]fixture.File{
		"a": {Content: "one\n"}, "empty": {}, "www/link": {Mode: "120000", Content: "../a"},
		"www/e/run": {Mode: "100755", Content: "#!"}, "www/e/big": {Content: fixture.Content(1, 2*tree.ChunkSize+7)},
		"www/e/again/run": {Content: "#!"},
		"www/module":      {Mode: "160000", Content: "1234567890123456789012345678901234567890"},
	})
}
