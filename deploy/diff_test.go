package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// diff writes what differs between two deploys as git diff-tree --raw does.
func (f *setup) diff(a, b *record.Deploy) (lines []string) {
	f.Helper()
	err := f.chain.Diff(f.Context(), a, b, func(c store.Change) error {
		side := func(e *tree.Entry) (string, string) {
			if e == nil {
				return "000000", tree.OID{}.String()
			}
			return fmt.Sprintf("%06o", uint32(e.Mode)), e.OID.String()
		}
		oldMode, oldOID := side(c.Old)
		newMode, newOID := side(c.New)
		lines = append(lines, fmt.Sprintf(":%s %s %s %s %s", oldMode, newMode, oldOID, newOID, c.Path))
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return lines
}

// gitDiff is the same of git, without its letter for what happened.
func (f *setup) gitDiff(a, b string) (lines []string) {
	f.Helper()
	fields := bytes.Split(bytes.TrimSuffix(f.repo.run(nil, "diff-tree", "-r", "-z", "--no-renames", "--raw", a, b),
		[]byte{0}), []byte{0})
	for i := 0; i+1 < len(fields); i += 2 {
		what := string(fields[i])
		lines = append(lines, what[:strings.LastIndex(what, " ")]+" "+string(fields[i+1]))
	}
	return lines
}

func TestDiffEqualsGits(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	draws := 0
	rapid.Check(t, func(rt *rapid.T) {
		draws++
		g := *f
		g.chain = f.store.Chain(record.Namespace(fmt.Sprintf("/diff/%d", draws)))
		all := files{}
		var deploys []*record.Deploy
		var parents []tree.OID
		for n := range rapid.IntRange(2, 4).Draw(rt, "deploys") {
			for range rapid.IntRange(1, 12).Draw(rt, "changes") {
				change(rt, all)
			}
			parents = []tree.OID{g.repo.commit(fmt.Sprint("commit ", n), all, parents...)}
			d, _, err := g.do(g.job(parents[0]))
			if err != nil {
				rt.Fatal(err)
			}
			deploys = append(deploys, d)
		}
		a, b := rapid.SampledFrom(deploys).Draw(rt, "a"), rapid.SampledFrom(deploys).Draw(rt, "b")
		got := g.diff(a, b)
		if diff := cmp.Diff(g.gitDiff(a.Record.Tree.String(), b.Record.Tree.String()), got); diff != "" {
			rt.Fatalf("deploys %d and %d (-git +diff):\n%s", a.ID, b.ID, diff)
		}
		// What the push said of it then is the same.
		if b.ID != a.ID+1 {
			return
		}
		paths := func(lines []string) (all []string) {
			for _, line := range lines {
				if fields := strings.SplitN(line, " ", 5); !strings.Contains(fields[0]+fields[1], "160000") {
					all = append(all, fields[4])
				}
			}
			return all
		}
		g.chain = f.store.Chain(record.Namespace(fmt.Sprintf("/diff/%d-again", draws)))
		if _, _, err := g.do(g.job(a.Hash.OID())); err != nil {
			rt.Fatal(err)
		}
		p, err := g.chain.Prepare(g.Context(), nil, g.job(b.Hash.OID()), quiet)
		if err != nil {
			rt.Fatal(err)
		}
		var counts [3]int // added, modified, deleted, as git's modes say
		for _, line := range got {
			file := func(mode string) bool { return mode != "000000" && mode != "160000" }
			switch was, is := file(line[1:7]), file(line[8:14]); {
			case was && is:
				counts[1]++
			case is:
				counts[0]++
			case was:
				counts[2]++
			}
		}
		if now := [3]int{p.Added, p.Modified, p.Deleted}; now != counts || p.Changed != now[0]+now[1]+now[2] {
			rt.Fatalf("%v added, modified, deleted of %d, git counts %v", now, p.Changed, counts)
		}
		var listed []string
		for _, c := range p.Listed {
			if (c.Old == nil || c.Old.Mode.String() != "0160000") && (c.New == nil || c.New.Mode.String() != "0160000") {
				listed = append(listed, c.Path)
			}
		}
		if diff := cmp.Diff(paths(got), listed); diff != "" {
			rt.Fatalf("listed (-diff +prepared):\n%s", diff)
		}
	})
}

func TestDiffEndsWithItsCallersError(t *testing.T) {
	f := newSetup(t)
	a := f.deploy(f.repo.commit("a", files{"x": regular("1"), "y": regular("1")}))
	b := f.deploy(f.repo.commit("b", files{"x": regular("2"), "y": regular("2")}, a.Hash.OID()))
	seen := 0
	err := f.chain.Diff(t.Context(), a, b, func(store.Change) error { seen++; return errCut })
	if !errors.Is(err, errCut) || seen != 1 {
		t.Errorf("%d changes, %v", seen, err)
	}
	if same := f.diff(a, a); same != nil {
		t.Errorf("a deploy differs from itself in %q", same)
	}
}

func TestDiffOfAForeignDeploy(t *testing.T) {
	f := newSetup(t)
	f.mgmts = true
	a := f.deploy(f.one())
	f.foreign(2, "")
	for _, pair := range [][2]*record.Deploy{{a, f.get(2)}, {f.get(2), a}} {
		err := f.chain.Diff(t.Context(), pair[0], pair[1], func(store.Change) error { return nil })
		fixture.WantFault(t, fault.Corrupt, err, "read deploy 2: it is foreign: verify ", "backup")
	}
}

// No node that was exchanged is believed, on either side.
func TestDiffChecksEachNodeItReads(t *testing.T) {
	f := newSetup(t)
	all := files{"d/e/f": regular("1"), "d/g": regular("1"), "h": regular("1")}
	a := f.deploy(f.repo.commit("a", all))
	b := f.deploy(f.repo.commit("b", files{"d/e/f": regular("2"), "d/g": regular("1"), "h": regular("1")}, a.Hash.OID()))
	checked := 0
	for key, value := range f.dump() {
		if !strings.HasPrefix(key, own+"tree/") {
			continue
		}
		checked++
		i := strings.IndexByte(value, '\t') - 1 // the last digit of a sha256: the tree oid stays
		f.put(key, value[:i]+string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", value[i])+1)%16])+value[i+1:])
		err := f.chain.Diff(t.Context(), a, b, func(store.Change) error { return nil })
		fixture.WantFault(t, fault.Corrupt, err, "compare deploys 1 and 2: verify "+key, "backup")
		f.delete(key)
		err = f.chain.Diff(t.Context(), a, b, func(store.Change) error { return nil })
		fixture.WantFault(t, fault.Corrupt, err, key+": it is missing", "backup")
		f.put(key, value)
	}
	if checked != 6 {
		t.Errorf("%d nodes", checked)
	}
	if got := f.diff(a, b); len(got) != 1 ||
		!slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, " d/e/f") }) {
		t.Errorf("diff %q", got)
	}
}
