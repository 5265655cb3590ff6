package deploy_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// TestRandomHistories draws commits and deploys some of them: each reads back as git has it, and counts what git
// counts. Everything is drawn from one seed; etcd and repository are the same for all draws, a namespace is new.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	draws := 0
	rapid.Check(t, func(rt *rapid.T) {
		draws++
		g := *f
		g.chain = f.store.Chain(record.Namespace(fmt.Sprintf("/random/%d", draws)))
		g.history(rt)
	})
}

func (f *setup) history(rt *rapid.T) {
	all := files{}
	var parents []tree.OID
	var deploys []*record.Deploy
	before := ""
	for n := range rapid.IntRange(1, 6).Draw(rt, "commits") {
		for range rapid.IntRange(1, 8).Draw(rt, "changes") {
			change(rt, all)
		}
		commit := f.repo.commit(fmt.Sprint("commit ", n), all, parents...)
		parents = []tree.OID{commit}
		if rapid.IntRange(0, 2).Draw(rt, "deploy") == 0 {
			continue
		}
		var changed, total int
		d, already, err := f.do(f.job(commit))
		if err != nil || already {
			rt.Fatalf("already %t, %v", already, err)
		}
		d, err = f.chain.Get(f.Context(), d.ID)
		if err != nil {
			rt.Fatal(err)
		}
		total, changed = f.gitCounts(before, commit.String())
		if d.Record.Files != total {
			rt.Fatalf("%d files, git counts %d", d.Record.Files, total)
		}
		if got := f.changedAgain(rt, deploys, commit); got != changed {
			rt.Fatalf("%d changed, git counts %d", got, changed)
		}
		f.sameAsGit(d)
		deploys, before = append(deploys, d), commit.String()
	}
	if len(deploys) > 0 { // an early one, after all that came later
		f.sameAsGit(rapid.SampledFrom(deploys).Draw(rt, "again"))
	}
}

// changedAgain prepares a commit as it was prepared, on a chain that ends where the deploys end.
func (f *setup) changedAgain(rt *rapid.T, deploys []*record.Deploy, commit tree.OID) int {
	g := *f
	g.chain = f.store.Chain(f.chain.Namespace() + "/again" + record.Namespace(fmt.Sprint("-", commit)))
	if len(deploys) > 0 {
		if _, _, err := g.do(g.job(deploys[len(deploys)-1].Hash.OID())); err != nil {
			rt.Fatal(err)
		}
	}
	p, lock := g.prepare(g.job(commit))
	if err := lock.Unlock(g.Context()); err != nil {
		rt.Fatal(err)
	}
	return p.Changed
}

// gitCounts counts files and links of a commit, and those that differ from an earlier one ("": nothing).
func (f *setup) gitCounts(before, after string) (total, changed int) {
	files := func(rev string) map[string]string {
		all := map[string]string{}
		if rev == "" {
			return all
		}
		for entry := range bytes.SplitSeq(f.repo.run(nil, "ls-tree", "-r", "-z", rev), []byte{0}) {
			what, path, ok := strings.Cut(string(entry), "\t")
			if ok && !strings.HasPrefix(what, "160000") {
				all[path] = what
			}
		}
		return all
	}
	old, new := files(before), files(after)
	for path, what := range new {
		if old[path] != what {
			changed++
		}
	}
	for path := range old {
		if _, there := new[path]; !there {
			changed++
		}
	}
	return len(new), changed
}

var names = []string{"a", "b", "a.b", "a b", "\xff\n", "-", "B"}

// change does one thing to a tree: add, modify, delete, rename, chmod, link, submodule, move or copy a subtree.
func change(rt *rapid.T, all files) {
	path := func(label string) string {
		n := rapid.IntRange(1, 4).Draw(rt, label+" depth")
		parts := make([]string, n)
		for i := range parts {
			parts[i] = rapid.SampledFrom(names).Draw(rt, label)
		}
		return strings.Join(parts, "/")
	}
	put := func(at string, f file) {
		for other := range all { // a file where a directory is, or below a file
			if strings.HasPrefix(other, at+"/") || strings.HasPrefix(at, other+"/") {
				delete(all, other)
			}
		}
		all[at] = f
	}
	there := slices.Sorted(maps.Keys(all))
	what := rapid.IntRange(0, 7).Draw(rt, "change")
	if len(there) == 0 {
		what = 0
	}
	pick := func() string { return rapid.SampledFrom(there).Draw(rt, "which") }
	switch what {
	case 0, 1:
		put(path("new"), regular(rapid.SampledFrom([]string{"", "x", "y", "content\n", "\x00\xff"}).Draw(rt, "content")))
	case 2:
		delete(all, pick())
	case 3:
		from := pick()
		f := all[from]
		delete(all, from)
		put(path("to"), f)
	case 4:
		at := pick()
		f := all[at]
		if f.mode == "" {
			all[at] = file{"100755", f.content}
		}
	case 5:
		to := rapid.SampledFrom([]string{"x", "../a", "/etc/passwd", "content\n"}).Draw(rt, "target")
		put(path("link"), file{"120000", to})
	case 6:
		put(path("submodule"), file{"160000", oid160})
	case 7:
		from, _, _ := strings.Cut(pick(), "/")
		to := path("copy")
		copied := files{}
		for at, f := range all {
			if rest, ok := strings.CutPrefix(at, from+"/"); ok {
				copied[to+"/"+rest] = f
			}
		}
		if rapid.Bool().Draw(rt, "move") {
			for at := range all {
				if strings.HasPrefix(at, from+"/") {
					delete(all, at)
				}
			}
		}
		for at, f := range copied {
			put(at, f)
		}
	}
}
