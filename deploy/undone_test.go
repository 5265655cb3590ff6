package deploy_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

func undone(ids ...any) []record.Undone {
	all := []record.Undone{}
	for i := 0; i < len(ids); i += 2 {
		all = append(all, record.Undone{ID: record.ID(ids[i].(int)), Hash: record.CommitHash(ids[i+1].(tree.OID))})
	}
	return all
}

func (f *setup) wantUndone(d *record.Deploy, want []record.Undone) {
	f.Helper()
	if diff := cmp.Diff(want, d.Record.Undone); diff != "" {
		f.Errorf("undone with deploy %d (-want +got):\n%s", d.ID, diff)
	}
}

// What was undone stays undone through a hotfix, and comes back with a merge only when that is said.
func TestUndoneThroughHotfixAndMerge(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	good := f.repo.commit("good", files{"a": regular("1")})
	broken := f.repo.commit("broken", files{"a": regular("2")}, good)
	hotfix := f.repo.commit("hotfix", files{"a": regular("1"), "b": regular("1")}, good)
	merge := f.repo.commit("merge", files{"a": regular("2"), "b": regular("1")}, hotfix, broken)
	f.deploy(good)
	f.deploy(broken)
	f.wantUndone(f.rollback(1), undone(2, broken))
	f.wantUndone(f.deploy(hotfix), undone(2, broken))
	_, _, err := f.do(f.job(merge))
	fixture.WantFault(t, fault.Conflict, err, "contains "+record.CommitHash(broken).Short()+
		" of deploy 2, which ops undid with deploy 3",
		"head-undone push 4")
	job := f.job(merge)
	job.Again = []record.ID{9, 4}
	d, _, err := f.do(job)
	if err != nil || d.Record.Again != 4 {
		t.Fatalf("again: %+v, %v", d, err)
	}
	f.wantUndone(d, undone())
	// Back to the hotfix, and force over to another line: both are undone.
	f.wantUndone(f.rollback(4), undone(5, merge))
	other := f.job(f.repo.commit("other", files{"c": regular("1")}))
	other.Force, other.Reason = true, "start anew"
	d, _, err = f.do(other)
	if err != nil {
		t.Fatal(err)
	}
	f.wantUndone(d, undone(5, merge, 6, hotfix))
	// A rollback to the merge brings back what that contains.
	f.wantUndone(f.rollback(5), undone(7, other.Commit))
}

// A path or settings that were undone, of a commit that is deployed, come back as a commit does.
func TestUndoneSettings(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.mgmts = true
	line := f.line("main", 3)
	deployAs := func(commit tree.OID, noop bool) (*record.Deploy, error) {
		job := f.job(commit)
		job.Settings.Noop = noop
		d, _, err := f.do(job)
		return d, err
	}
	for _, noop := range []bool{true, false} {
		if _, err := deployAs(line[0], noop); err != nil {
			t.Fatal(err)
		}
	}
	f.wantUndone(f.rollback(1), undone(2, line[0]))
	_, err := deployAs(line[0], false)
	fixture.WantFault(t, fault.Conflict, err, "is that of deploy 2, which ops undid with deploy 3", "head-undone push 3")
	d, err := deployAs(line[1], true) // as the head has it
	if err != nil {
		t.Fatal(err)
	}
	f.wantUndone(d, undone(2, line[0]))
	_, err = deployAs(line[2], false)
	fixture.WantFault(t, fault.Conflict, err, "contains "+d.Record.PreviousHash.Short()+" of deploy 2",
		"head-undone push 4")
	job := f.job(line[2])
	job.Again = []record.ID{9, 4}
	if d, _, err = f.do(job); err != nil {
		t.Fatal(err)
	}
	f.wantUndone(d, undone())
	// Back over both, and to the one with the settings of today: the other one stays undone.
	f.wantUndone(f.rollback(1), undone(2, line[0], 4, line[1], 5, line[2]))
}

// A second operator who goes back by head~1, a second after the first one, does not bring the break back.
func TestRollbackByHeadToWhatWasUndone(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	f.deploy(line[0])
	f.deploy(line[1])
	first := f.backTo(f.chain, "head~1")
	if _, _, err := f.do(first); err != nil {
		t.Fatal(err)
	}
	second := f.backTo(f.chain, "head~1")
	before := f.dump()
	_, _, err := f.do(second)
	fixture.WantFault(t, fault.Conflict, err, "deploy 2, "+record.CommitHash(line[1]).Short()+
		", is what ops undid with deploy 3, just now: login is broken", "head-undone rollback 3 2")
	f.unchanged(before)
	f.wantUndone(f.rollback(2), undone()) // by its number
}

// Without a repository the records tell what goes on from what.
func TestRollbackOfARollbackWithoutARepository(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	for _, commit := range line {
		f.deploy(commit)
	}
	f.rollback(1)
	job := f.back(3)
	job.Repo = nil
	d, _, err := f.do(job)
	if err != nil {
		t.Fatal(err)
	}
	f.wantUndone(d, undone())
}

// modelled is a chain as the rules of undone say it should be: ids and parents of small integers in place of commits.
type modelled struct {
	parents [][]int    // of commit i
	chain   []deployed // deploy i+1
	undone  map[int]record.ID
}

type deployed struct {
	commit int
	noop   bool // a setting
}

func (m *modelled) contains(commit, other int) bool {
	if commit == other {
		return true
	}
	return slices.ContainsFunc(m.parents[commit], func(p int) bool { return m.contains(p, other) })
}

func (m *modelled) head() deployed { return m.chain[len(m.chain)-1] }

// comesBack tells whether an undone commit comes back with a deploy.
func (m *modelled) comesBack(d deployed, u int) bool {
	return m.contains(d.commit, u) && (!m.contains(m.head().commit, u) || d.noop == m.chain[m.undone[u]-1].noop)
}

// step is what becomes of a deploy; kind is "push", "again", "force", "rollback" to a number, or "head~".
func (m *modelled) step(d deployed, kind string, to int) (published bool) {
	if len(m.chain) == 0 {
		m.chain = append(m.chain, d)
		return true
	}
	head, back := m.head(), []int(nil)
	for u := range m.undone {
		if m.comesBack(d, u) {
			back = append(back, u)
		}
	}
	isRollback, forced := kind == "rollback" || kind == "head~", false
	switch {
	case d == head:
		return false
	case !isRollback && !m.contains(d.commit, head.commit):
		if kind != "force" {
			return false
		}
		forced = true
	case len(back) > 0 && (kind == "push" || kind == "head~"):
		return false
	}
	for _, u := range back {
		delete(m.undone, u)
	}
	if isRollback {
		for id := to + 1; id < len(m.chain); id++ {
			over := m.chain[id-1]
			if _, known := m.undone[over.commit]; !known && m.undoes(d, over) {
				m.undone[over.commit] = record.ID(id)
			}
		}
	}
	if (forced || isRollback) && m.undoes(d, head) {
		m.undone[head.commit] = record.ID(len(m.chain))
	}
	m.chain = append(m.chain, d)
	return true
}

// undoes tells whether a deploy that goes back over another undoes it.
func (m *modelled) undoes(d, over deployed) bool {
	return !m.contains(d.commit, over.commit) || d.commit == over.commit && d.noop != over.noop
}

// commitsOf makes commits for a model, of which n is the number.
func (f *setup) commitsOf(t *rapid.T, m *modelled, n int) (commits []tree.OID) {
	for i := range rapid.IntRange(2, 6).Draw(t, "commits") {
		var parents []int
		var oids []tree.OID
		for p := range i {
			if rapid.IntRange(0, 2).Draw(t, "parent") == 0 {
				parents, oids = append(parents, p), append(oids, commits[p])
			}
		}
		m.parents = append(m.parents, parents)
		commits = append(commits, f.repo.commit(fmt.Sprint(n, " ", i), files{"f": regular(fmt.Sprint(n, i))}, oids...))
	}
	if f.opened != nil { // it does not see the new commits
		if err := f.opened.Close(); err != nil {
			t.Fatal(err)
		}
		f.opened = nil
	}
	return commits
}

func TestUndoneIsAsTheModelSays(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.mgmts = true // for a setting
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		chain := f.store.Chain(record.Namespace(fmt.Sprintf("/t/%d", n)))
		m := &modelled{undone: map[int]record.ID{}}
		commits := f.commitsOf(t, m, n)
		for range rapid.IntRange(1, 10).Draw(t, "deploys") {
			kinds := []string{"push", "push", "again", "force", "rollback", "head~"}
			kind, to := rapid.SampledFrom(kinds).Draw(t, "kind"), 0
			var job *deploy.Job
			var asked deployed
			if kind == "rollback" || kind == "head~" {
				if len(m.chain) == 0 {
					continue
				}
				to = rapid.IntRange(1, len(m.chain)).Draw(t, "to")
				named := fmt.Sprint(to)
				if below := len(m.chain) - to; kind == "head~" && below > 0 {
					named = fmt.Sprint("head~", below)
				}
				asked, job = m.chain[to-1], f.backTo(chain, named)
			} else {
				asked.commit = rapid.IntRange(0, len(commits)-1).Draw(t, "commit")
				asked.noop = rapid.IntRange(0, 3).Draw(t, "noop") == 0
				job = f.job(commits[asked.commit])
				job.Settings.Noop = asked.noop
			}
			switch kind {
			case "again":
				job.Again = []record.ID{record.ID(len(m.chain))}
			case "force":
				job.Force, job.Reason = true, "because"
			}
			d, already, err := chain.Do(f.Context(), holder, job, time.Second, quiet)
			var conflict *deploy.ConflictError
			if err != nil && !errors.As(err, &conflict) {
				t.Fatal(err)
			}
			if want := m.step(asked, kind, to); want != (err == nil && !already) {
				t.Fatalf("%s of %v: published %t, want %t: %v", kind, asked, err == nil && !already, want, err)
			}
			if err != nil || already {
				continue
			}
			got := map[int]record.ID{}
			for _, u := range d.Record.Undone {
				got[slices.Index(commits, u.Hash.OID())] = u.ID
			}
			if diff := cmp.Diff(m.undone, got); diff != "" {
				t.Fatalf("undone with deploy %d (-want +got):\n%s", d.ID, diff)
			}
		}
	})
}
