package tree_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/tree"
)

// line makes n commits, each the parent of the next, upon from (which may be none), oldest first.
func (g *gitRepo) line(branch string, n int, from tree.OID) []tree.OID {
	g.tb.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "commit refs/heads/%s\ncommitter C <c@example.com> %d +0000\ndata <<END\n%s %d\nEND\n", branch, 1700000000+i, branch, i)
		if i == 0 && !from.IsZero() {
			fmt.Fprintf(&b, "from %s\n", from)
		}
		b.WriteString("\n")
	}
	g.git(b.String(), "fast-import", "--quiet")
	var oids []tree.OID
	for _, s := range strings.Fields(g.git("", "rev-list", "--reverse", "--first-parent", fmt.Sprintf("--max-count=%d", n), "refs/heads/"+branch)) {
		oids = append(oids, oidOf(s))
	}
	return oids
}

func newestFirst(oids []tree.OID) []tree.OID {
	var out []tree.OID
	for i := range oids {
		out = append(out, oids[len(oids)-1-i])
	}
	return out
}

func TestBetweenLinear(t *testing.T) {
	g := newGitRepo(t)
	c := g.line("main", 1200, tree.OID{})
	side := g.line("side", 3, c[1100])
	other := g.line("other", 2, tree.OID{})
	r := g.open()
	last := len(c) - 1
	for _, q := range []struct {
		why                  string
		ancestor, descendant tree.OID
		limit                int
		want                 tree.Range
	}{
		{"equal", c[5], c[5], 10, tree.Range{Related: true}},
		{"parent", c[last-1], c[last], 10, tree.Range{Related: true, Commits: c[last:]}},
		{"more than limit", c[last-5], c[last], 3, tree.Range{Related: true, Commits: newestFirst(c[last-2:]), More: true}},
		{"exactly limit", c[last-3], c[last], 3, tree.Range{Related: true, Commits: newestFirst(c[last-2:])}},
		{"limit zero", c[last-3], c[last], 0, tree.Range{Related: true, Commits: []tree.OID{}, More: true}},
		{"as far as is walked", c[last-1000], c[last], 5000, tree.Range{Related: true, Commits: newestFirst(c[last-999:])}},
		{"one further", c[last-1001], c[last], 5000, tree.Range{Related: true, Commits: newestFirst(c[last-1000:])}},
		{"to the root", c[0], c[last], 5000, tree.Range{Related: true, Commits: newestFirst(c[1:])}},
		{"to the root, limited", c[0], c[last], 4, tree.Range{Related: true, Commits: newestFirst(c[last-3:]), More: true}},
		{"to the root, exactly", c[0], c[last], 1199, tree.Range{Related: true, Commits: newestFirst(c[1:])}},
		{"rewound", c[last], c[last-1], 10, tree.Range{}},
		{"rewound, short", c[20], c[10], 10, tree.Range{}},
		{"another line", side[2], c[last], 10, tree.Range{}},
		{"another line, other way", c[last], side[2], 10, tree.Range{}},
		{"unrelated", other[1], c[last], 10, tree.Range{}},
		{"unrelated, short", c[last], other[1], 10, tree.Range{}},
	} {
		got, err := r.Between(t.Context(), q.ancestor, q.descendant, q.limit)
		if err != nil {
			t.Errorf("%s: %v", q.why, err)
		} else if d := cmp.Diff(q.want, got, sameOIDs); d != "" {
			t.Errorf("%s: %s", q.why, d)
		}
	}
}

// TestBetweenMerges: a criss-cross history, where two commits have two best common ancestors.
func TestBetweenMerges(t *testing.T) {
	g := newGitRepo(t)
	empty := g.tree()
	base := g.commit(empty, "base")
	a, b := g.commit(empty, "a", base), g.commit(empty, "b", base)
	ab, ba := g.commit(empty, "ab", a, b), g.commit(empty, "ba", b, a)
	top := g.commit(empty, "top", ab, ba)
	r := g.open()
	set := func(oids []tree.OID) map[tree.OID]bool {
		m := map[tree.OID]bool{}
		for _, o := range oids {
			m[o] = true
		}
		return m
	}
	for _, q := range []struct {
		ancestor, descendant tree.OID
		related              bool
		want                 []tree.OID
	}{
		{base, top, true, []tree.OID{top, ab, ba, a, b}},
		{a, top, true, []tree.OID{top, ab, ba, b}},
		{ab, top, true, []tree.OID{top, ba}},
		{b, ab, true, []tree.OID{ab, a}},
		{ab, ba, false, nil},
		{top, base, false, nil},
		{a, b, false, nil},
	} {
		got, err := r.Between(t.Context(), q.ancestor, q.descendant, 100)
		if err != nil || got.Related != q.related || got.More || !maps.Equal(set(got.Commits), set(q.want)) || len(got.Commits) != len(q.want) {
			t.Errorf("%s..%s: %v, %v", q.ancestor, q.descendant, got, err)
		}
		if len(got.Commits) > 0 && got.Commits[0] != q.descendant {
			t.Errorf("%s..%s: does not begin with the newest: %v", q.ancestor, q.descendant, got.Commits)
		}
	}
	got, err := r.Between(t.Context(), base, top, 2)
	if err != nil || !got.Related || !got.More || len(got.Commits) != 2 || got.Commits[0] != top {
		t.Errorf("limited: %v, %v", got, err)
	}
}

// TestBetweenRandomHistory compares every pair of a random history with reachability computed here.
func TestBetweenRandomHistory(t *testing.T) {
	g := newGitRepo(t)
	r := g.open()
	empty := g.tree()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > 4 { // every round runs git many times
			return
		}
		var oids []tree.OID
		reach := map[tree.OID]map[tree.OID]bool{}
		for i := range 9 {
			var parents []tree.OID
			if i > 0 {
				parents = rapid.SliceOfNDistinct(rapid.SampledFrom(oids), 0, min(2, i), rapid.ID[tree.OID]).Draw(rt, "parents")
			}
			oid := g.commit(empty, fmt.Sprintf("round %d, commit %d", round, i), parents...)
			reach[oid] = map[tree.OID]bool{oid: true}
			for _, p := range parents {
				for o := range reach[p] {
					reach[oid][o] = true
				}
			}
			oids = append(oids, oid)
		}
		for _, a := range oids {
			for _, d := range oids {
				want := map[tree.OID]bool{}
				for o := range reach[d] {
					if reach[d][a] && !reach[a][o] {
						want[o] = true
					}
				}
				got, err := r.Between(t.Context(), a, d, 100)
				if err != nil || got.Related != reach[d][a] || len(got.Commits) != len(want) {
					rt.Fatalf("%s..%s: %v, %v", a, d, got, err)
				}
				for i, o := range got.Commits {
					if !want[o] {
						rt.Fatalf("%s..%s: %s does not belong", a, d, o)
					}
					for _, older := range got.Commits[:i] {
						if reach[o][older] {
							rt.Fatalf("%s..%s: %s comes after its ancestor %s", a, d, o, older)
						}
					}
				}
			}
		}
	})
}

func TestBetweenUnknown(t *testing.T) {
	g := newGitRepo(t)
	commit := g.commit(g.tree(), "one")
	none := oidOf("00112233445566778899aabbccddeeff00112233")
	r := g.open()
	for _, ancestor := range []tree.OID{none, g.tree()} {
		if _, err := r.Between(t.Context(), ancestor, commit, 5); !errors.Is(err, tree.ErrUnknownCommit) || !strings.Contains(err.Error(), ancestor.String()) {
			t.Error(err)
		}
		if _, err := r.Between(t.Context(), commit, ancestor, 5); !errors.Is(err, tree.ErrNotFound) || !strings.Contains(err.Error(), ancestor.String()) {
			t.Error(err)
		}
	}
	if _, err := r.Between(t.Context(), commit, commit, -1); err == nil {
		t.Error("negative limit accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Between(ctx, commit, commit, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestBetweenGitFails: git's own words, when git was asked and could not answer.
func TestBetweenGitFails(t *testing.T) {
	g := newGitRepo(t)
	empty := g.tree()
	base := g.commit(empty, "base")
	lost := g.commit(empty, "lost", base)
	top := g.commit(empty, "top", lost, g.commit(empty, "kept", base))
	r := g.open()
	if err := os.Remove(filepath.Join(g.dir, "objects", lost.String()[:2], lost.String()[2:])); err != nil {
		t.Fatal(err)
	}
	_, err := r.Between(t.Context(), g.commit(empty, "elsewhere"), top, 5)
	var git *tree.GitError
	if !errors.As(err, &git) || git.Command != "merge-base" || !strings.Contains(err.Error(), lost.String()) {
		t.Error(err)
	}
}

// TestBetweenGrafts: what a repository says of parents elsewhere than in the commits does not count.
func TestBetweenGrafts(t *testing.T) {
	g := newGitRepo(t)
	empty := g.tree()
	a, b := g.commit(empty, "a"), g.commit(empty, "b")
	top := g.commit(empty, "top", b, g.commit(empty, "c"))
	if err := os.MkdirAll(filepath.Join(g.dir, "info"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.dir, "info", "grafts"), []byte(top.String()+" "+a.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.try("", "merge-base", "--is-ancestor", a.String(), top.String()); err != nil {
		t.Fatal("git itself does not heed the graft:", err)
	}
	if got, err := g.open().Between(t.Context(), a, top, 5); err != nil || got.Related {
		t.Error(got, err)
	}
}

// TestBetweenShallow: a parent that a shallow repository lacks is the end of what can be known.
func TestBetweenShallow(t *testing.T) {
	g := newGitRepo(t)
	c := g.line("main", 10, tree.OID{})
	other := g.line("other", 1, tree.OID{})
	shallow := newGitRepo(t)
	shallow.git("", "fetch", "-q", "--depth=3", "file://"+g.dir, "refs/heads/main")
	shallow.git("", "fetch", "-q", "--depth=3", "file://"+g.dir, "refs/heads/other")
	r := shallow.open()
	got, err := r.Between(t.Context(), c[7], c[9], 5)
	if want := (tree.Range{Related: true, Commits: newestFirst(c[8:])}); err != nil || !cmp.Equal(got, want, sameOIDs) {
		t.Error(got, err)
	}
	if got, err := r.Between(t.Context(), other[0], c[9], 5); err != nil || got.Related {
		t.Error(got, err)
	}
	if _, err := r.Between(t.Context(), c[5], c[9], 5); !errors.Is(err, tree.ErrUnknownCommit) {
		t.Error(err)
	}
}
