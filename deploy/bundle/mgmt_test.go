package bundle_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/bundle"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
	"refship/deploy/verify"
)

// newMgmt is a chain that mgmt reads: two deploys of refship's, one of mgmt's own, and one more of refship's.
func newMgmt(t *testing.T) *history {
	t.Helper()
	h := &history{chain.New(t)}
	h.Namespace = record.MgmtNamespace
	h.Store = h.NewStore(deploy.Config{LeaseTTL: time.Minute})
	var above tree.OID
	push := func(content string, force bool) {
		t.Helper()
		var parents []tree.OID
		if !above.IsZero() {
			parents = append(parents, above)
		}
		above = h.Repo.Commit(content, map[string]fixture.File{
			"main.mcl": {Content: content}, "files/large": {Content: strings.Repeat(content[:1], 1_200_000)},
		}, parents...)
		job := h.peeled(above)
		job.Frontend, job.Settings.VersionFile, job.Force, job.Reason = record.Lang, "files/version", force, "a test"
		if _, err := h.Publish(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	push("one", false)
	push("two", false)
	text, err := os.ReadFile("../mgmt/testdata/golden/lang.json")
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string][]byte{}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	for key, value := range golden {
		h.Put(strings.Replace(key, "/deploy/1/", "/deploy/3/", 1), string(value))
	}
	push("four", true)
	h.Put("/_mgmt/strings/refship/h1", "x")
	h.Put("/_mgmt/scheduler/x", "x")
	return h
}

// A chain that mgmt reads comes out of a bundle as mgmt reads it, with a deploy of mgmt's own in it.
func TestMgmt(t *testing.T) {
	t.Parallel()
	h := newMgmt(t)
	f := export(t, bundle.Source{Chain: h.Chain().Chain})
	want := map[verify.State]int{verify.Unsigned: 3, verify.Foreign: 1}
	if states := proved(t, f.Chain()); !maps.Equal(states, want) {
		t.Errorf("the bundle: %v", states)
	}
	client := fixture.NewEtcd(t).Client()
	if _, err := client.Put(t.Context(), "/_mgmt/scheduler/x", "another's"); err != nil {
		t.Fatal(err)
	}
	if _, err := into(t, f, client, nil); err != nil {
		t.Fatal(err)
	}
	if states := proved(t, store.Open(client, h.Namespace)); !maps.Equal(states, want) {
		t.Errorf("the copy: %v", states)
	}
	values := map[string][]byte{}
	for key, value := range fixture.Dump(t, client) {
		values[key] = []byte(value)
	}
	values, err := mgmttest.Below(string(h.Namespace), values)
	if err != nil {
		t.Fatal(err)
	}
	for id, at := range map[uint64]string{1: "one", 2: "two", 4: "four"} {
		d, err := mgmttest.ReadID(values, id)
		if err != nil {
			t.Fatal(err)
		}
		if code, err := fs.ReadFile(d.FS, "main.mcl"); err != nil || string(code) != at {
			t.Errorf("deploy %d: %q, %v", id, code, err)
		}
		if version, err := fs.ReadFile(d.FS, "files/version"); err != nil || string(version) != d.Hash {
			t.Errorf("deploy %d of %s: version %q, %v", id, d.Hash, version, err)
		}
	}
}

// Since a deploy: the superblocks of earlier ones are left out, too.
func TestMgmtSince(t *testing.T) {
	t.Parallel()
	h := newMgmt(t)
	fourth, err := h.Chain().Get(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	f := export(t, bundle.Source{Chain: h.Chain().Chain, Since: fourth.Record.Time})
	blocks, since := 0, f.Header.Since
	for key := range has(t, f) {
		if strings.Contains(key, "/fs/deploy/") {
			blocks++
		}
	}
	states := proved(t, f.Chain())
	if since < 2 || blocks != int(5-since) || states[verify.Foreign]+states[verify.Gone]+states[verify.Unsigned] != 4 ||
		states[verify.Gone] == 0 {
		t.Error(fmt.Sprint(since, " ", blocks, " ", states))
	}
}
