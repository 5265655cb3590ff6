package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"refship/deploy/fixture"
)

// What a user gains: the benchmark runs on the real programs from end to end, and its table has what it promises.
func TestBench(t *testing.T) {
	t.Parallel()
	fixture.Need(t, "sshd")
	fixture.Need(t, "etcd")
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator),
		"refship/cmd/refship", "refship/cmd/refship-hook")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	w, err := newWorld(t.Context(), bin, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	b := &meter{world: w, plan: plan{
		sizes: []string{"S"}, firsts: []string{"S", "S-loose"}, large: "S", rounds: 1, few: 1, pushes: 12,
	}}
	if err := b.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if err := p.do(b, t.Context()); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
	r := b.report(t.Context(), time.Now(), parts)
	if len(r.Missing) > 0 {
		t.Errorf("not measured: %q", r.Missing)
	}
	for _, program := range []string{"refship ", "git version ", "OpenSSH_", "SSH-2.0-OpenSSH_", "etcd Version: "} {
		if !slices.ContainsFunc(r.Version, func(said string) bool { return strings.HasPrefix(said, program) }) {
			t.Errorf("no version of %s in %q", program, r.Version)
		}
	}
	for _, g := range r.Goals {
		if g.Is <= 0 {
			t.Errorf("goal %+v", g)
		}
	}
	for _, f := range r.Figures {
		if f.Median <= 0 || f.Least > f.Median || f.Median > f.Most {
			t.Errorf("figure %+v", f)
		}
	}
	if text := r.markdown(); strings.Count(text, "\n| ") != len(r.Goals)+len(r.Figures)+2 {
		t.Errorf("the tables have other lines than figures:\n%s", text)
	}
}

// A command that fails must never be a figure.
func TestFailuresAreNoFigures(t *testing.T) {
	t.Parallel()
	w, err := newWorld(t.Context(), t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	b := &meter{world: w}
	r, err := b.source(t.Context(), "S", "source", []peer{{localName, nil, w.bare("", "local", true)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.homes[0]); err != nil {
		t.Fatal(err)
	}
	_, err = b.push(t.Context(), r, 0, peer{})
	if err == nil || !strings.Contains(err.Error(), "does not appear to be a git repository") {
		t.Errorf("a push to nowhere: %v", err)
	}
	if _, err := deployed("remote: refship: deploy 2 is at work"); err == nil {
		t.Error("a push that published nothing has a deploy phase")
	}
	for said, want := range map[string]time.Duration{
		"9 ms": 9 * time.Millisecond, "9999 ms": 9999 * time.Millisecond, "12s": 12 * time.Second, "1m5s": 65 * time.Second,
	} {
		took, err := deployed("remote: refship: deploy 12 published in " + said + ": 1a2b3c4 replaces 5d6e7f8")
		if err != nil || took != want {
			t.Errorf("%s is %s, %v", said, took, err)
		}
	}
}

// Two runs push the same bytes.
func TestCorpusIsFromItsSeed(t *testing.T) {
	t.Parallel()
	for name, c := range corpora {
		one := c.content(1, 7)
		if again := c.content(1, 7); one != again || one == c.content(2, 7) || one == c.content(1, 8) {
			t.Errorf("%s: contents do not follow from seed and file", name)
		}
	}
	c, sum := corpora["S"], 0
	for i := range c.files {
		sum += len(c.content(1, i))
	}
	if sum < c.bytes*8/10 || sum > c.bytes*12/10 {
		t.Errorf("S has %d bytes, and should have %d or so", sum, c.bytes)
	}
}

// What a user gains: a run says which of its goals it has not measured.
func TestUnmeasuredGoalIsMissing(t *testing.T) {
	t.Parallel()
	w, err := newWorld(t.Context(), t.TempDir(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer w.end()
	b := &meter{world: w, plan: whole}
	for _, p := range parts {
		want := len(p.goals(&whole))
		if r := b.report(t.Context(), time.Now(), []part{p}); want == 0 || len(r.Missing) != want || len(r.Goals) > 0 {
			t.Errorf("%s: %d goals, of which %q are missing", p.name, want, r.Missing)
		}
	}
}

// Each is first as often as the others, and follows each of the others.
func TestTurns(t *testing.T) {
	t.Parallel()
	const n, rounds = 4, 40
	var o, same order
	first, after := map[int]int{}, map[[2]int]int{}
	for round := range rounds {
		order := o.turns(n, round)
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2, 3}) {
			t.Fatalf("round %d: %v", round, order)
		}
		first[order[0]]++
		for i := range n - 1 {
			after[[2]int{order[i], order[i+1]}]++
		}
		if again := same.turns(n, round); !slices.Equal(order, again) {
			t.Errorf("round %d: %v, and then %v", round, order, again)
		}
	}
	for i := range n {
		if first[i] != rounds/n {
			t.Errorf("%d is first in %d of %d rounds", i, first[i], rounds)
		}
	}
	if len(after) != n*(n-1) {
		t.Errorf("only %d pairs follow each other", len(after))
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, s := range map[float64]sample{0: nil, 1: {1}, 1.5: {2, 1}, 2: {9, 1, 2}, 3: {4, 100, 2, 1}} {
		if got := s.median(); got != want {
			t.Errorf("median of %v is %v, want %v", s, got, want)
		}
	}
}
