package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// graph is a random history of commits, each with its ancestors and itself, by number.
type graph struct {
	oids []tree.OID
	raw  []string
	over []map[int]bool
}

func drawGraph(t *rapid.T) *graph {
	g := &graph{}
	for i := range rapid.IntRange(1, 15).Draw(t, "commits") {
		text, over := fmt.Sprintf("tree %040d\n", 0), map[int]bool{i: true}
		for range min(i, rapid.IntRange(0, 2).Draw(t, "parents")) {
			parent := rapid.IntRange(max(0, i-4), i-1).Draw(t, "parent")
			text += "parent " + g.oids[parent].String() + "\n"
			for below := range g.over[parent] {
				over[below] = true
			}
		}
		// Clocks of authors say nothing.
		text += fmt.Sprintf("author A <a@b> %d +0100\n\nnumber %d\n\nmore\n", rapid.IntRange(0, 3).Draw(t, "time"), i)
		g.raw, g.over = append(g.raw, text), append(g.over, over)
		g.oids = append(g.oids, tree.HashObject(tree.FormatSHA1, "commit", []byte(text)))
	}
	return g
}

// between are the commits that lead to one and not to another, -1 for none.
func (g *graph) between(to, without int) (all []int) {
	for i := range g.oids {
		if g.over[to][i] && (without < 0 || !g.over[without][i]) {
			all = append(all, i)
		}
	}
	return all
}

func (g *graph) store(b *bundle, chain *store.Chain, i int) {
	b.keys[chain.ObjectKey(g.oids[i])] = fmt.Sprintf("commit %d\x00%s", len(g.raw[i]), g.raw[i])
}

// deploy puts a deploy of a commit with what it stores, as a push does.
func (g *graph) deploy(b *bundle, chain *store.Chain, id record.ID, commit, before int) (brought []int) {
	r := &record.Record{
		Format: record.Format, Namespace: namespace, Chain: "00112233445566778899aabbccddeeff", ID: id,
		Kind: record.KindPush, Hash: record.CommitHash(g.oids[commit]), Tree: fixture.BlobOID(""), TreeSHA256: tree.SHA256{1},
		Frontend: record.Files, Undone: []record.Undone{}, Time: time.Now().UTC(),
	}
	brought = g.between(commit, before)
	r.Commits = len(brought)
	if before >= 0 {
		r.PreviousHash, r.Forced = record.CommitHash(g.oids[before]), !g.over[commit][before]
		below := []byte(b.keys[chain.DeployKey(id-1, record.KeyRecord)])
		r.PreviousRecord = record.Ref{ID: id - 1, SHA256: record.Sum(below)}
	}
	if before < 0 || r.Forced {
		brought = []int{commit}
	}
	for _, i := range brought {
		g.store(b, chain, i)
	}
	text, _ := r.Encode()
	b.keys[chain.DeployKey(id, record.KeyHash)] = string(r.Hash)
	b.keys[chain.DeployKey(id, record.KeyRecord)] = string(text)
	return brought
}

// Each deploy brought what git's before..hash says, and a commit came with the first deploy that has it: or it is said
// that an earlier one may have had it.
func TestCommitsAreThoseThatGitNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, g := newBundle(), drawGraph(t)
		chain := store.New(b, namespace)
		before, deployed, brought := -1, []int{}, [][]int{}
		for range rapid.IntRange(1, 8).Draw(t, "deploys") {
			commit := rapid.IntRange(0, len(g.oids)-1).Draw(t, "commit")
			if commit == before {
				continue // it is deployed already
			}
			brought = append(brought, g.deploy(b, chain, record.ID(len(brought)+1), commit, before))
			before, deployed = commit, append(deployed, commit)
		}
		cs := chain.NewCommits()
		err := chain.Log(t.Context(), 0, func(d *record.Deploy) error {
			commits, more, err := cs.Brought(t.Context(), d)
			if err = errors.Join(err, d.Damage); err != nil {
				return err
			}
			var got []int
			for _, c := range commits {
				got = append(got, slices.Index(g.oids, c.OID))
			}
			slices.Sort(got)
			want := brought[d.ID-1]
			if more < 0 && len(got) == len(want)-more { // it says that it gives too many
				got = slices.DeleteFunc(got, func(i int) bool { return !slices.Contains(want, i) })
				more = 0
			}
			if diff := cmp.Diff(want, got); diff != "" || more != max(0, d.Record.Commits-len(want)) {
				t.Fatalf("deploy %d, %d more (-want +got):\n%s", d.ID, more, diff)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, oid := range g.oids {
			g.checkFirst(t, chain, deployed, i, oid)
		}
	})
}

// checkFirst checks which deploy is said to be the first with a commit.
func (g *graph) checkFirst(t *rapid.T, chain *store.Chain, deployed []int, commit int, oid tree.OID) {
	want := slices.IndexFunc(deployed, func(d int) bool { return g.over[d][commit] }) + 1
	first, earlier, err := chain.FirstWith(t.Context(), oid.String()[:12], func(*record.Deploy) error { return nil })
	switch {
	case fault.Is(err, fault.Failed):
		// It was never stored: a first or forced deploy may have had it.
	case err != nil:
		t.Fatal(err)
	case int(first.ID) != want && !slices.Contains(earlier, record.ID(want)):
		t.Fatalf("commit %d: the first is %d, or one of %v, want %d", commit, first.ID, earlier, want)
	}
	if want > 0 && deployed[want-1] == commit && (err != nil || int(first.ID) < want) {
		t.Fatalf("commit %d: the first is %v, %v, want %d", commit, first, err, want)
	}
}

// A commit says what git shows of it.
func TestCommitsAreReadAsGitReadsThem(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]store.Commit{
		"author Ann <ann@b> 1700000000 +0130\ncommitter C <c@d> 1 +0000\n\nsub\nject\n\nmore": {
			Author: "Ann <ann@b>", Subject: "sub ject", Time: time.Unix(1_700_000_000, 0)},
		"author nobody\n\n\nlate":                         {Subject: "late"},
		"author A <a@b> 99999999999999 +0000\n\n\xff":     {Author: "A <a@b>", Subject: "\uFFFD"},
		"author A <a@b> 5 +0000\ngpgsig x\n author y\n\n": {Author: "A <a@b>", Time: time.Unix(5, 0)},
		"": {},
	} {
		b := newBundle()
		chain := store.New(b, namespace)
		raw := "tree 0000000000000000000000000000000000000000\n" + header
		want.OID = tree.HashObject(tree.FormatSHA1, "commit", []byte(raw))
		b.keys[chain.ObjectKey(want.OID)] = fmt.Sprintf("commit %d\x00%s", len(raw), raw)
		d := &record.Deploy{Hash: record.CommitHash(want.OID), Record: &record.Record{Commits: 1}}
		got, more, err := chain.NewCommits().Brought(t.Context(), d)
		if err != nil || more != 0 || len(got) != 1 {
			t.Fatal(got, more, err)
		}
		if diff := cmp.Diff(&want, got[0], cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
			cmp.Comparer(func(a, b tree.OID) bool { return a == b }), cmpopts.IgnoreUnexported(want)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", header, diff)
		}
		b.keys[chain.ObjectKey(want.OID)] += "x"
		if _, _, err := chain.NewCommits().Brought(t.Context(), d); !fault.Is(err, fault.Corrupt) {
			t.Errorf("of another commit: %v", err)
		}
	}
}
