package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// touches asks a chain which deploys changed a path.
func touches(t *rapid.T, chain *store.Chain, path string) (map[record.ID]store.Touch, error) {
	told, last := map[record.ID]store.Touch{}, record.ID(0)
	h := chain.NewHistory(path, func(d *record.Deploy, touch store.Touch) error {
		if last != 0 && d.ID != last-1 {
			t.Errorf("deploy %d comes after %d", d.ID, last)
		}
		told[d.ID], last = touch, d.ID
		return nil
	})
	if err := chain.Log(t.Context(), 0, func(d *record.Deploy) error { return h.Add(t.Context(), d) }); err != nil {
		t.Fatal(err)
	}
	if err := h.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	return told, h.Damage()
}

var somePaths = []string{"", "a", "b", "long name", "a/a", "a/b/c", "c/c", "b/a/a/a"}

// History says what comparing all of the trees says; where gc has taken nodes it may not know, and is never wrong.
func TestHistoryIsWhatTreesSay(t *testing.T) {
	t.Parallel()
	test := t
	rapid.Check(t, func(t *rapid.T) {
		b := newBundle()
		chain := store.New(b, namespace)
		trees := []map[string]tree.Entry{{}}
		for id := range rapid.IntRange(1, 100).Draw(t, "deploys") {
			all, d := map[string]tree.Entry{}, drawDir(t, rapid.IntRange(0, 2).Draw(t, "depth"))
			all[""] = flatten(chain, d, "", all)
			trees = append(trees, all)
			b.deploy(test, chain, record.ID(id+1), 0, d)
		}
		expired := rapid.IntRange(0, len(trees)-1).Draw(t, "expired")
		taken := map[string]bool{}
		for _, all := range trees[1 : expired+1] {
			for path, e := range all {
				if (path == "" || strings.HasSuffix(path, "/")) && rapid.Bool().Draw(t, "take") {
					taken[chain.TreeKey(e.OID)] = true
				}
			}
		}
		for _, all := range trees[expired+1:] {
			for _, e := range all {
				delete(taken, chain.TreeKey(e.OID)) // it is needed
			}
		}
		for key := range taken {
			delete(b.keys, key)
		}
		b.keys[own+"expired"] = fmt.Sprint(expired)
		for _, path := range somePaths {
			told, damage := touches(t, chain, path)
			if damage != nil || len(told) != len(trees)-1 {
				t.Fatalf("%q: %d of %d deploys, %v", path, len(told), len(trees)-1, damage)
			}
			for id := 1; id < len(trees); id++ {
				want := store.Untouched
				if at(trees[id], path) != at(trees[id-1], path) {
					want = store.Touched
				}
				known := len(taken) == 0 || id > expired+1
				if got := told[record.ID(id)]; got != want && (got != store.Expired || known) {
					t.Fatalf("%q, deploy %d of %d, %d expired: %d, want %d", path, id, len(trees)-1, expired, got, want)
				}
			}
		}
	})
}

// at is what a flattened tree has at a path.
func at(all map[string]tree.Entry, path string) string {
	for _, key := range []string{path, path + "/"} {
		if e, ok := all[key]; ok {
			return fmt.Sprint(e.Mode, e.OID, e.SHA256)
		}
	}
	return ""
}

// The directories of thousands of deploys are read once each, many at a time.
func TestHistoryReadsEachDirectoryOnce(t *testing.T) {
	t.Parallel()
	b := newBundle()
	chain := store.New(b, namespace)
	const deploys = 300
	for id := 1; id <= deploys; id++ {
		b.deploy(t, chain, record.ID(id), 2, dir{"f": fmt.Sprint(id), "a": dir{"f": fmt.Sprint(id / 100)}})
	}
	h := chain.NewHistory("a/f", func(*record.Deploy, store.Touch) error { return nil })
	var all []*record.Deploy
	err := chain.Log(t.Context(), 0, func(d *record.Deploy) error {
		all = append(all, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.reads, b.asked = 0, map[string]int{}
	for _, d := range all {
		if err := h.Add(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.End(t.Context()); err != nil || b.reads > 8 {
		t.Errorf("%d reads, %v", b.reads, err)
	}
	for key, n := range b.asked {
		if n > 1 {
			t.Errorf("%s is read %d times", key, n)
		}
	}
	if want := deploys + 4; len(b.asked) != want {
		t.Errorf("%d keys are read, want %d", len(b.asked), want)
	}
}

// A directory that is missing though gc has not taken it is damage; so is one that is not what was deployed.
func TestHistoryOfDamage(t *testing.T) {
	t.Parallel()
	b := newBundle()
	chain := store.New(b, namespace)
	for id := range record.ID(5) {
		b.deploy(t, chain, id+1, 1, dir{"a": dir{"f": fmt.Sprint(id)}})
	}
	third, err := chain.Get(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	key := chain.TreeKey(third.Record.Tree)
	for _, value := range []string{"", "garbage"} {
		if b.keys[key] = value; value == "" {
			delete(b.keys, key)
		}
		b.keys[own+"expired"] = "2"
		var unknown []record.ID
		h := chain.NewHistory("a", func(d *record.Deploy, touch store.Touch) error {
			if touch == store.Unknown {
				unknown = append(unknown, d.ID)
			}
			return nil
		})
		if err := chain.Log(t.Context(), 0, func(d *record.Deploy) error { return h.Add(t.Context(), d) }); err != nil {
			t.Fatal(err)
		}
		if err := h.End(t.Context()); err != nil || !slices.Equal(unknown, []record.ID{4, 3}) {
			t.Errorf("%q: unknown %v, %v", value, unknown, err)
		}
		if !fault.Is(h.Damage(), fault.Corrupt) {
			t.Errorf("%q: %v", value, h.Damage())
		}
	}
}
