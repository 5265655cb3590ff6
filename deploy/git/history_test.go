package git_test

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

	"refship/deploy/fixture"
	"refship/deploy/git"
)

func newestFirst(oids []git.OID) []git.OID {
	var out []git.OID
	for i := range oids {
		out = append(out, oids[len(oids)-1-i])
	}
	return out
}

func TestBetweenLinear(t *testing.T) {
	g := fixture.NewRepository(t)
	c := g.Line("main", 1200, git.OID{})
	side := g.Line("side", 3, c[1100])
	other := g.Line("other", 2, git.OID{})
	r := open(g)
	last := len(c) - 1
	for _, q := range []struct {
		why                  string
		ancestor, descendant git.OID
		limit                int
		want                 git.Range
	}{
		{"equal", c[5], c[5], 10, git.Range{Related: true}},
		{"parent", c[last-1], c[last], 10, git.Range{Related: true, Commits: c[last:]}},
		{"more than limit", c[last-5], c[last], 3, git.Range{Related: true, Commits: newestFirst(c[last-2:]),
			More: true}},
		{"exactly limit", c[last-3], c[last], 3, git.Range{Related: true, Commits: newestFirst(c[last-2:])}},
		{"limit zero", c[last-3], c[last], 0, git.Range{Related: true, Commits: []git.OID{}, More: true}},
		{"as far as is walked", c[last-1000], c[last], 5000, git.Range{Related: true,
			Commits: newestFirst(c[last-999:])}},
		{"one further", c[last-1001], c[last], 5000, git.Range{Related: true, Commits: newestFirst(c[last-1000:])}},
		{"to the root", c[0], c[last], 5000, git.Range{Related: true, Commits: newestFirst(c[1:])}},
		{"to the root, limited", c[0], c[last], 4, git.Range{Related: true, Commits: newestFirst(c[last-3:]),
			More: true}},
		{"to the root, exactly", c[0], c[last], 1199, git.Range{Related: true, Commits: newestFirst(c[1:])}},
		{"rewound", c[last], c[last-1], 10, git.Range{}},
		{"rewound, short", c[20], c[10], 10, git.Range{}},
		{"another line", side[2], c[last], 10, git.Range{}},
		{"another line, other way", c[last], side[2], 10, git.Range{}},
		{"unrelated", other[1], c[last], 10, git.Range{}},
		{"unrelated, short", c[last], other[1], 10, git.Range{}},
	} {
		got, err := r.Between(t.Context(), q.ancestor, q.descendant, q.limit)
		if err != nil {
			t.Errorf("%s: %v", q.why, err)
		} else if d := cmp.Diff(q.want, got, fixture.EqualOIDs); d != "" {
			t.Errorf("%s: %s", q.why, d)
		}
	}
}

// TestBetweenMerges: a criss-cross history, where two commits have two best common ancestors.
func TestBetweenMerges(t *testing.T) {
	g := fixture.NewRepository(t)
	empty := g.Tree()
	base := g.CommitTree(empty, "base")
	a, b := g.CommitTree(empty, "a", base), g.CommitTree(empty, "b", base)
	ab, ba := g.CommitTree(empty, "ab", a, b), g.CommitTree(empty, "ba", b, a)
	top := g.CommitTree(empty, "top", ab, ba)
	r := open(g)
	set := func(oids []git.OID) map[git.OID]bool {
		m := map[git.OID]bool{}
		for _, o := range oids {
			m[o] = true
		}
		return m
	}
	for _, q := range []struct {
		ancestor, descendant git.OID
		related              bool
		want                 []git.OID
	}{
		{base, top, true, []git.OID{top, ab, ba, a, b}},
		{a, top, true, []git.OID{top, ab, ba, b}},
		{ab, top, true, []git.OID{top, ba}},
		{b, ab, true, []git.OID{ab, a}},
		{ab, ba, false, nil},
		{top, base, false, nil},
		{a, b, false, nil},
	} {
		got, err := r.Between(t.Context(), q.ancestor, q.descendant, 100)
		if err != nil || got.Related != q.related || got.More || !maps.Equal(set(got.Commits), set(q.want)) ||
			len(got.Commits) != len(q.want) {
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
	g := fixture.NewRepository(t)
	r := open(g)
	empty := g.Tree()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		if round++; round > 4 { // every round runs git many times
			return
		}
		var oids []git.OID
		reach := map[git.OID]map[git.OID]bool{}
		for i := range 9 {
			var parents []git.OID
			if i > 0 {
				some := rapid.SliceOfNDistinct(rapid.SampledFrom(oids), 0, min(2, i), rapid.ID[git.OID])
				parents = some.Draw(rt, "parents")
			}
			oid := g.CommitTree(empty, fmt.Sprintf("round %d, commit %d", round, i), parents...)
			reach[oid] = map[git.OID]bool{oid: true}
			for _, p := range parents {
				for o := range reach[p] {
					reach[oid][o] = true
				}
			}
			oids = append(oids, oid)
		}
		for _, a := range oids {
			for _, d := range oids {
				want := map[git.OID]bool{}
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
	g := fixture.NewRepository(t)
	commit := g.CommitTree(g.Tree(), "one")
	none := fixture.OID("00112233445566778899aabbccddeeff00112233")
	r := open(g)
	for _, ancestor := range []git.OID{none, g.Tree()} {
		if _, err := r.Between(t.Context(), ancestor, commit, 5); !errors.Is(err, git.ErrUnknownCommit) ||
			!strings.Contains(err.Error(), ancestor.String()) {
			t.Error(err)
		}
		if _, err := r.Between(t.Context(), commit, ancestor, 5); !errors.Is(err, git.ErrNotFound) ||
			!strings.Contains(err.Error(), ancestor.String()) {
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
	g := fixture.NewRepository(t)
	empty := g.Tree()
	base := g.CommitTree(empty, "base")
	lost := g.CommitTree(empty, "lost", base)
	top := g.CommitTree(empty, "top", lost, g.CommitTree(empty, "kept", base))
	r := open(g)
	if err := os.Remove(filepath.Join(g.Dir, "objects", lost.String()[:2], lost.String()[2:])); err != nil {
		t.Fatal(err)
	}
	_, err := r.Between(t.Context(), g.CommitTree(empty, "elsewhere"), top, 5)
	var failed *git.Error
	if !errors.As(err, &failed) || failed.Command != "merge-base" || !strings.Contains(err.Error(), lost.String()) {
		t.Error(err)
	}
}

// TestBetweenGrafts: what a repository says of parents elsewhere than in the commits does not count.
func TestBetweenGrafts(t *testing.T) {
	g := fixture.NewRepository(t)
	empty := g.Tree()
	a, b := g.CommitTree(empty, "a"), g.CommitTree(empty, "b")
	top := g.CommitTree(empty, "top", b, g.CommitTree(empty, "c"))
	if err := os.MkdirAll(filepath.Join(g.Dir, "info"), 0o700); err != nil {
		t.Fatal(err)
	}
	graft := top.String() + " " + a.String() + "\n"
	if err := os.WriteFile(filepath.Join(g.Dir, "info", "grafts"), []byte(graft), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.TryGit("", "merge-base", "--is-ancestor", a.String(), top.String()); err != nil {
		t.Fatal("git itself does not heed the graft:", err)
	}
	if got, err := open(g).Between(t.Context(), a, top, 5); err != nil || got.Related {
		t.Error(got, err)
	}
}

// TestBetweenShallow: a parent that a shallow repository lacks is the end of what can be known.
func TestBetweenShallow(t *testing.T) {
	g := fixture.NewRepository(t)
	c := g.Line("main", 10, git.OID{})
	other := g.Line("other", 1, git.OID{})
	shallow := fixture.NewRepository(t)
	shallow.Git("fetch", "-q", "--depth=3", "file://"+g.Dir, "refs/heads/main")
	shallow.Git("fetch", "-q", "--depth=3", "file://"+g.Dir, "refs/heads/other")
	r := open(shallow)
	got, err := r.Between(t.Context(), c[7], c[9], 5)
	if want := (git.Range{Related: true, Commits: newestFirst(c[8:])}); err != nil ||
		!cmp.Equal(got, want, fixture.EqualOIDs) {
		t.Error(got, err)
	}
	if got, err := r.Between(t.Context(), other[0], c[9], 5); err != nil || got.Related {
		t.Error(got, err)
	}
	if _, err := r.Between(t.Context(), c[5], c[9], 5); !errors.Is(err, git.ErrUnknownCommit) {
		t.Error(err)
	}
}
