package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Whatever the history, the commit of each deploy is found to lead back to the one before; and no commit on the way can
// be taken away unseen.
func TestAncestryOfRandomHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, g := newBundle(), drawGraph(t)
		chain := store.New(b, namespace)
		before, n := -1, record.ID(0)
		for range rapid.IntRange(1, 8).Draw(t, "deploys") {
			commit := rapid.IntRange(0, len(g.oids)-1).Draw(t, "commit")
			if commit == before {
				continue
			}
			n++
			g.deploy(b, chain, n, commit, before)
			before = commit
		}
		if err := ancestries(t, chain); err != nil {
			t.Fatal(err)
		}
		objects := slices.DeleteFunc(slices.Sorted(maps.Keys(b.keys)), func(key string) bool {
			return !strings.HasPrefix(key, own+"object/")
		})
		key := rapid.SampledFrom(objects).Draw(t, "removed")
		delete(b.keys, key)
		if err := ancestries(t, chain); !fault.Is(err, fault.Corrupt) {
			t.Fatalf("%s is removed: %v", key, err)
		}
	})
}

// ancestries looks at all deploys.
func ancestries(t *rapid.T, chain *store.Chain) (all error) {
	cs := chain.NewTolerantCommits()
	var deploys []*record.Deploy
	err := chain.Log(t.Context(), 0, func(d *record.Deploy) error {
		deploys = append(deploys, d)
		return nil
	})
	if err == nil {
		err = cs.Prefetch(t.Context(), deploys)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range deploys {
		_, err := cs.Commit(d.Hash.OID())
		known, ancestry := cs.Ancestry(t.Context(), d)
		if err = errors.Join(err, ancestry); err == nil && known != (!d.Record.Forced && d.ID > 1) {
			t.Fatalf("deploy %d: known %t", d.ID, known)
		}
		all = errors.Join(all, err)
	}
	return all
}
