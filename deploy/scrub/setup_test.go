package scrub_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/deploy/scrub"
	"refship/deploy/tree"
	"refship/keys"
)

// setup is a chain in a real etcd, and the repository that is deployed into it.
type setup struct {
	*chain.Setup
	tap     *tap
	target  scrub.Target
	signer  ssh.Signer
	signers *keys.AllowedSigners // nil: not known
	found   []scrub.Finding      // of the last scrub
	gentle  bool
}

func newSetup(t testing.TB) *setup {
	t.Helper()
	f := &setup{Setup: chain.New(t), signer: fixture.Signer(1)}
	f.tap = &tap{KV: f.KV}
	f.Client.KV = f.tap
	f.signers = new(keys.AllowedSigners)
	f.signers.Merge(keys.NewAllowedSigners("server", &keys.Signer{
		Principals: "server", Namespaces: keys.Namespace, PublicKey: f.signer.PublicKey(),
	}))
	f.Store = f.NewStore(deploy.Config{
		LeaseTTL: time.Minute, Signers: func() (*keys.AllowedSigners, error) { return f.signers, nil },
	})
	f.target = scrub.Target{Repository: "config", GitDir: f.Repo.Dir, Namespace: f.Namespace}
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

// deploy publishes a commit.
func (f *setup) deploy(commit tree.OID, change func(*deploy.Job)) *record.Deploy {
	f.Helper()
	job := f.Job(commit)
	job.Signer = f.signer
	if change != nil {
		change(job)
	}
	f.Namespace = f.target.Namespace
	d, err := f.Publish(f.Context(), job)
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
		Store: f.Store, Gentle: f.gentle, Progress: chain.Quiet,
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
	now := f.Dump()
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

// needed are the keys that a head needs, without those of the deploy itself, the hint, how much is stored, and the log,
// which publishing mends.
func (f *setup) needed() []string {
	f.Helper()
	ns := string(f.target.Namespace)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.Dump())), func(key string) bool {
		own, isOwn := strings.CutPrefix(key, ns+"/refship/")
		return strings.HasPrefix(key, ns+"/deploy/") ||
			isOwn && (own == "head" || own == "stored" || own == "checkpoint" || strings.HasPrefix(own, "log/"))
	})
}

// everyKind is a commit with every kind of entry.
func (f *setup) everyKind() tree.OID {
	f.Helper()
	return f.Repo.Commit("one", map[string]fixture.File{
		"a": {Content: "one\n"}, "empty": {}, "www/link": {Mode: "120000", Content: "../a"},
		"www/e/run": {Mode: "100755", Content: "#!"}, "www/e/big": {Content: fixture.Content(1, 2*tree.ChunkSize+7)},
		"www/e/again/run": {Content: "#!"},
		"www/module":      {Mode: "160000", Content: "1234567890123456789012345678901234567890"},
	})
}
