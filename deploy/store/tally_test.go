package store_test

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// drawDir draws a directory whose parts are often equal: to each other, and to those of another draw.
func drawDir(t *rapid.T, depth int) dir {
	d := dir{}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "long name"}), 0, 4,
		rapid.ID[string]).Draw(t, "names") {
		switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); {
		case kind > 1 && depth > 0:
			d[name] = drawDir(t, depth-1)
		case kind == 1:
			d[name] = link(rapid.SampledFrom([]string{"to", "elsewhere"}).Draw(t, "target"))
		default:
			d[name] = rapid.SampledFrom([]string{"", "one", "two"}).Draw(t, "content")
		}
	}
	return d
}

// flatten lists all of a tree by path, a directory with a slash at its end.
func flatten(chain *store.Chain, d dir, where string, all map[string]tree.Entry) tree.Entry {
	b := newBundle()
	node := new(tree.Node)
	for _, name := range slices.Sorted(maps.Keys(d)) {
		at := path.Join(where, name)
		var e tree.Entry
		switch value := d[name].(type) {
		case dir:
			e = flatten(chain, value, at, all)
			at += "/"
		case link:
			e = b.content(chain, filemode.Symlink, string(value))
		case string:
			e = b.content(chain, filemode.Regular, value)
		}
		e.Name = name
		all[at] = e
		node.Entries = append(node.Entries, e)
	}
	slices.SortFunc(node.Entries, gitOrder)
	nodes := chain.NewNodes()
	nodes.Add(node.OID(tree.FormatSHA1), node, node.Text())
	return nodes.Entry(node.OID(tree.FormatSHA1))
}

// Counting and listing what differs give what a comparison of all paths gives.
func TestTallyAndDiff(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBundle()
		chain := store.New(b, namespace)
		oldDir, newDir := drawDir(rt, 4), drawDir(rt, 4)
		if rapid.Bool().Draw(rt, "old is in new") {
			newDir["b"] = oldDir
		}
		old, new := b.put(t, chain, oldDir), b.put(t, chain, newDir)
		was, is := map[string]tree.Entry{}, map[string]tree.Entry{}
		if rapid.Bool().Draw(rt, "from nothing") {
			old = tree.Entry{}
		} else {
			flatten(chain, oldDir, "", was)
		}
		flatten(chain, newDir, "", is)
		var want store.Tally
		var paths []string
		for at, e := range is {
			before, there := was[at]
			if there && before.OID == e.OID && before.Mode == e.Mode {
				continue
			}
			want.Paths++
			want.Bytes += 4096
			switch {
			case strings.HasSuffix(at, "/"):
				continue
			case there:
				want.Modified++
			default:
				want.Added++
			}
			paths = append(paths, at)
		}
		for at := range was {
			if _, there := is[at]; !there && !strings.HasSuffix(at, "/") {
				want.Deleted++
				paths = append(paths, at)
			}
		}
		slices.Sort(paths)
		nodes := chain.NewNodes()
		got, err := nodes.Tally(rt.Context(), old, new)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			rt.Fatalf("%v (-want +got):\n%s", err, diff)
		}
		reads := b.reads
		var listed []string
		if err := nodes.Diff(rt.Context(), old, new, func(c store.Change) error {
			listed = append(listed, c.Path)
			return nil
		}); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(paths, listed); diff != "" {
			rt.Fatalf("listed (-want +got):\n%s", diff)
		}
		if b.reads != reads {
			rt.Fatalf("%d more reads", b.reads-reads)
		}
	})
}

// What occurs many times over is counted without a look at each, and what is deleted may be any number of files.
func TestTallyOfMany(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	many := b.large(chain, fixture.Numbered(1000), 60, 1)
	few := b.put(t, chain, dir{"n0000": "x"})
	got, err := chain.NewNodes().Tally(t.Context(), many, few)
	if err != nil || got.Deleted < 1<<60 || got.Added != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if b.reads > 60 {
		t.Errorf("%d reads", b.reads)
	}
	some := b.large(chain, fixture.Numbered(99), 3, 5000)
	got, err = chain.NewNodes().Tally(t.Context(), tree.Entry{}, some)
	want := store.Tally{Added: 99 * 99 * 99, Paths: 99*99*99 + 99*99 + 99, Bytes: 99*99*99*8192 + (99*99+99)*4096}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
