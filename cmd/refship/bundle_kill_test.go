package main

// What a user gains from this test: a bundle that is there is whole, and a killed export or import needs nothing but to be
// run again.

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
)

var bundleKills = flag.Int("bundle.kills", 5, "how many times TestKillBundle kills an export, and an import")

// An export that is killed leaves no bundle under the name that it was given, or a whole one; the next one of that name
// also takes away what was left beside it. After an import that was killed the next one completes the chain, wherever
// it died, and that chain is the one that was exported.
func TestKillBundle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve("")
	for _, name := range []string{"first", "second", "third"} {
		w.commit(name, 300)
		if err := w.push(); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	k := &killer{world: w, random: rand.New(rand.NewPCG(seed, 0))}

	sub := w.in("bundles")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(sub, "config.refship")
	whole := w.in("whole.refship")
	k.undisturbed("export", whole)
	k.killAtRandom(*bundleKills, "export", func(int) []string { return []string{name} }, k.makes(func(made string) {
		w.must("refship", "verify", made)
		if err := os.Remove(made); err != nil {
			t.Error(err)
		}
	}))
	w.must("refship", "export", name)
	if left, err := os.ReadDir(sub); err != nil || len(left) != 1 {
		t.Errorf("beside the bundle are %v, %v", left, err)
	}

	log := w.must("refship", "log", "--json", "-n", "all")
	signers := w.in("signers")
	if err := os.WriteFile(signers, []byte(w.must("refship", "keys", "signer")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &world{TB: t, dir: w.in("copy"), env: append(slices.Clone(w.env), "REFSHIP_DATA_DIR="+w.in("copy/data"),
		"REFSHIP_ALLOWED_SIGNERS="+signers)}
	r.must("refship", "repo", "create", "config")
	r.serve("")
	defer r.stop()
	k = &killer{world: r, random: k.random}
	k.undisturbed("import", name)
	inPart := 0
	r.empty()
	k.killAtRandom(*bundleKills, "import", func(int) []string { return []string{name} }, func(_ []string, err error) {
		if err != nil && len(r.keys()) > 0 {
			inPart++
		}
		r.must("refship", "import", name)
		r.must("refship", "verify", "config")
		if got := r.must("refship", "log", "--json", "-n", "all"); got != log {
			t.Errorf("imported is\n%s\nand not\n%s", got, log)
		}
		r.empty()
	})
	t.Logf("%d kills left a part of the chain", inPart)
}

// ask asks the server's etcd about all keys of the chain.
func (w *world) ask(op func(prefix string) clientv3.Op) clientv3.OpResponse {
	w.Helper()
	client, err := etcd.Dial(w.Context(), etcd.Config{
		Endpoints: []string{etcd.Socket(w.in("data/etcd"))}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = client.Close() }() // it has answered
	resp, err := client.Do(w.Context(), op("/refship/config/"))
	if err != nil {
		w.Fatal(err)
	}
	return resp
}

// keys are the chain's.
func (w *world) keys() (all []string) {
	w.Helper()
	resp := w.ask(func(prefix string) clientv3.Op {
		return clientv3.OpGet(prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	})
	for _, kv := range resp.Get().Kvs {
		all = append(all, fmt.Sprintf("%q", kv.Key))
	}
	return all
}

// empty takes the chain away.
func (w *world) empty() {
	w.Helper()
	w.ask(func(prefix string) clientv3.Op { return clientv3.OpDelete(prefix, clientv3.WithPrefix()) })
}
