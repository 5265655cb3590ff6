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
	b := &meter{world: w, plan: plan{sizes: []string{"S"}, firsts: []string{"S"}, rounds: 1, few: 1, pushes: 12}}
	if err := b.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if p.name == "checkout" || p.name == "node" {
			continue // below: they take larger repositories
		}
		if err := p.do(b, t.Context()); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
	if err := b.checkoutsOf(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	if err := b.nodeOf(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	r := b.report(t.Context(), time.Now())
	if len(r.Missing) > 0 || len(r.Version) != 4 {
		t.Errorf("not measured: %q; versions: %q", r.Missing, r.Version)
	}
	for _, want := range []string{
		"one file, S: refship / sshd", "one file, S: refship / sshd with curve25519",
		"clone after many pushes / of the same commits in one pack",
		"checkout of S: refship / git clone --depth 1", "publish to switched of one file in S, ms",
	} {
		if !slices.ContainsFunc(r.Goals, func(g reached) bool { return g.Goal == want && g.Is > 0 }) {
			t.Errorf("no figure for %q", want)
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
	if _, err := b.push(t.Context(), r, 0, peer{}); err == nil || !strings.Contains(err.Error(), "does not appear to be a git repository") {
		t.Errorf("a push to nowhere: %v", err)
	}
	if _, err := deployed("remote: refship: deploy 2 is at work"); err == nil {
		t.Error("a push that published nothing has a deploy phase")
	}
	if took, err := deployed("remote: refship: deploy 12 published in 1.5 s: 1a2b3c4 replaces 5d6e7f8"); err != nil || took != 1500*time.Millisecond {
		t.Errorf("1.5 s is %s, %v", took, err)
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

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, s := range map[float64]sample{0: nil, 1: {1}, 1.5: {2, 1}, 2: {9, 1, 2}, 3: {4, 100, 2, 1}} {
		if got := s.median(); got != want {
			t.Errorf("median of %v is %v, want %v", s, got, want)
		}
	}
}
