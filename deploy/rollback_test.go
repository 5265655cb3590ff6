package deploy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// back is the job that goes back to a deploy.
func (f *setup) back(id record.ID) *deploy.Job {
	f.Helper()
	job, err := f.chain.NewRollback(f.Context(), func(record.ID) (record.ID, error) { return id, nil })
	if err != nil {
		f.Fatal(err)
	}
	job.Repo, job.Reason, job.Signer, job.Pusher = f.job(tree.OID{}).Repo, "login is broken", f.signer,
		record.Pusher{Name: "ops"}
	return job
}

// rollback publishes it.
func (f *setup) rollback(id record.ID) *record.Deploy {
	f.Helper()
	d, already, err := f.do(f.back(id))
	if err != nil || already {
		f.Fatalf("roll back to %d: already %t, %v", id, already, err)
	}
	return f.get(d.ID)
}

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

func TestRollback(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	for _, commit := range line {
		f.deploy(commit)
	}
	before := f.dump()
	d := f.rollback(1)
	first := f.get(1).Record
	r := d.Record
	if r.Kind != record.KindRollback || r.Forced || r.Hash != first.Hash || r.Tree != first.Tree ||
		r.PreviousHash != f.get(3).Hash ||
		r.Subject != "to 1: "+first.Subject || r.Author != first.Author || r.Reason != "login is broken" ||
		r.Files != first.Files ||
		r.Commits != 1 {
		t.Errorf("record %+v", r)
	}
	if to, subject := record.ParseRollback(r); to != 1 || subject != first.Subject {
		t.Errorf("it went back to %d, %q", to, subject)
	}
	f.wantUndone(d, undone(2, line[1], 3, line[2]))
	f.sameAsGit(d)
	after := f.dump()
	var added []string
	for key := range after {
		if before[key] == "" {
			added = append(added, key)
		}
	}
	slices.Sort(added)
	want := []string{namespace + "/deploy/4/hash", namespace + "/deploy/4/record", namespace + "/deploy/4/signature"}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	// A rollback of the rollback: what was undone is chosen, and goes on from where the chain is.
	d = f.rollback(3)
	f.wantUndone(d, undone())
	f.sameAsGit(d)
	if d.Record.Subject != "to 3: "+f.get(3).Record.Subject {
		t.Errorf("subject %q", d.Record.Subject)
	}
	if again := f.rollback(4).Record; again.Subject != "to 4: "+first.Subject {
		t.Errorf("subject %q", again.Subject)
	}
	if _, already, err := f.do(f.back(1)); err != nil || !already {
		t.Errorf("back to what the head is: already %t, %v", already, err)
	}
}

func TestRollbackIsRefused(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.mgmts = true
	line := f.line("main", 3)
	f.deploy(line[0])
	f.deploy(line[1])
	late := f.back(1)
	f.deploy(line[2])
	_, _, err := f.do(late)
	fixture.WantFault(t, fault.Conflict, err, "is at deploy 3", "head-moved rollback 3")
	f.foreign(4, line[2].String())
	_, err = f.chain.NewRollback(t.Context(), func(head record.ID) (record.ID, error) { return head, nil })
	fixture.WantReason(t, fault.Refused, err, "deploy-without-record 4")
	_, err = f.chain.NewRollback(t.Context(), func(record.ID) (record.ID, error) { return 9, nil })
	if err == nil {
		t.Error("there is no deploy 9")
	}
}

// What an old deploy had is looked for, key by key: the head does not vouch for it.
func TestRollbackToWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	first := f.repo.commit("first", files{"a": regular("one"), "sub/b": regular("two"), "sub/deep/c": regular("three")})
	f.deploy(first)
	before := f.dump()
	f.deploy(f.repo.commit("second", files{"z": regular("else")}, first))
	for key, value := range before {
		if !strings.Contains(key, "/storage/") && !strings.Contains(key, "/refship/tree/") &&
			!strings.Contains(key, "/refship/object/") {
			continue
		}
		f.delete(key)
		_, _, err := f.do(f.back(1))
		fixture.WantFault(t, fault.Refused, err, key, "deploy-content-gone 1 "+first.String())
		f.put(key, value)
	}
	f.sameAsGit(f.rollback(1))
}

func TestRollbackWhileTheChainIsHeld(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	f.deploy(line[0])
	f.deploy(line[1])
	job := f.back(1)
	job.Hold = &record.Hold{User: "ops", Reason: "login is broken", Since: time.Now().UTC()}
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	_, _, err := f.do(f.job(line[2]))
	fixture.WantFault(t, fault.Conflict, err, "is on hold by ops", "chain-held /refship/config ops")
	try := f.job(line[2])
	try.DryRun, try.Again = true, 3
	if v, err := f.chain.Check(t.Context(), try); err != nil || v.Held == nil {
		t.Errorf("a dry run: %+v, %v", v, err)
	}
	// Another's rollback goes through, and does not replace the hold.
	job = f.back(2)
	job.Hold = &record.Hold{User: "eve", Reason: "mine"}
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	if h := f.state().Hold; h == nil || h.User != "ops" {
		t.Errorf("hold %+v", h)
	}
	err = f.chain.Hold(t.Context(), &record.Hold{User: "eve"})
	fixture.WantFault(t, fault.Conflict, err, "is on hold by ops", "chain-held")
	eve := &record.Event{Kind: record.EventResume, User: "eve"}
	_, err = f.chain.Resume(t.Context(), eve, false)
	fixture.WantReason(t, fault.Refused, err, "chain-held-by-other ops")
	if h, err := f.chain.Resume(t.Context(), eve, true); err != nil || h == nil || f.state().Hold != nil {
		t.Errorf("resume: %+v, %v", h, err)
	}
	if h, err := f.chain.Resume(t.Context(), eve, false); err != nil || h != nil {
		t.Errorf("resume again: %+v, %v", h, err)
	}
	var kinds []string
	for _, e := range f.events() {
		kinds = append(kinds, fmt.Sprint(e.Kind, " ", e.User))
	}
	if diff := cmp.Diff([]string{"hold ops", "resume eve"}, kinds); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func (f *setup) events() []*record.Event {
	f.Helper()
	resp, err := f.tap.KV.Get(f.Context(), own+record.EventPrefix, clientv3.WithPrefix())
	if err != nil {
		f.Fatal(err)
	}
	var all []*record.Event
	for _, kv := range resp.Kvs {
		all = append(all, record.ParseEvent(strings.TrimPrefix(string(kv.Key), own), kv.Value))
	}
	return all
}

func TestOnlyTheLastEventsAreKept(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	for i := range record.MaxEvents + 2 {
		f.put(own+record.EventKey(time.Unix(int64(i), 0)), "old")
	}
	if err := f.chain.Hold(t.Context(), &record.Hold{User: "ops"}); err != nil {
		t.Fatal(err)
	}
	if all := f.events(); len(all) != record.MaxEvents || all[len(all)-1].User != "ops" {
		t.Errorf("%d events", len(all))
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
	job.Again = 4
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
	parents [][]int // of commit i
	chain   []int   // commit of deploy i+1
	undone  map[int]record.ID
}

func (m *modelled) contains(commit, other int) bool {
	if commit == other {
		return true
	}
	return slices.ContainsFunc(m.parents[commit], func(p int) bool { return m.contains(p, other) })
}

// step is what becomes of a deploy of a commit; kind is "push", "again", "force" or "rollback".
func (m *modelled) step(commit int, kind string, to int) (published bool) {
	if len(m.chain) == 0 {
		m.chain = append(m.chain, commit)
		return kind != "rollback"
	}
	head := m.chain[len(m.chain)-1]
	if commit == head {
		return false
	}
	forced := false
	var back []int
	for u := range m.undone {
		goesOn := m.contains(commit, head) // what the head has is no news then
		if m.contains(commit, u) && (kind == "rollback" || !goesOn || !m.contains(head, u)) {
			back = append(back, u)
		}
	}
	switch {
	case kind == "rollback":
	case !m.contains(commit, head):
		if kind != "force" {
			return false
		}
		forced = true
	case len(back) > 0 && kind == "push":
		return false
	}
	for _, u := range back {
		delete(m.undone, u)
	}
	if kind == "rollback" {
		for id := to + 1; id < len(m.chain); id++ {
			over := m.chain[id-1]
			if _, known := m.undone[over]; !known && !m.contains(commit, over) {
				m.undone[over] = record.ID(id)
			}
		}
	}
	if (forced || kind == "rollback") && !m.contains(commit, head) {
		m.undone[head] = record.ID(len(m.chain))
	}
	m.chain = append(m.chain, commit)
	return true
}

func TestUndoneIsAsTheModelSays(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		ns := record.Namespace(fmt.Sprintf("/t/%d", n))
		chain := f.store.Chain(ns)
		m := &modelled{undone: map[int]record.ID{}}
		var commits []tree.OID
		for i := range rapid.IntRange(2, 6).Draw(t, "commits") {
			var parents []int
			for p := range i {
				if rapid.IntRange(0, 2).Draw(t, "parent") == 0 {
					parents = append(parents, p)
				}
			}
			var oids []tree.OID
			for _, p := range parents {
				oids = append(oids, commits[p])
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
		for range rapid.IntRange(1, 10).Draw(t, "deploys") {
			kind := rapid.SampledFrom([]string{"push", "push", "again", "force", "rollback"}).Draw(t, "kind")
			var job *deploy.Job
			var commit, to int
			if kind == "rollback" {
				if len(m.chain) == 0 {
					continue
				}
				to = rapid.IntRange(1, len(m.chain)).Draw(t, "to")
				commit = m.chain[to-1]
				var err error
				job, err = chain.NewRollback(f.Context(), func(record.ID) (record.ID, error) { return record.ID(to), nil })
				if err != nil {
					t.Fatal(err)
				}
				job.Repo, job.Signer, job.Reason = f.job(commits[0]).Repo, f.signer, "because"
			} else {
				commit = rapid.IntRange(0, len(commits)-1).Draw(t, "commit")
				job = f.job(commits[commit])
			}
			switch kind {
			case "again":
				job.Again = record.ID(len(m.chain))
			case "force":
				job.Force, job.Reason = true, "because"
			}
			d, already, err := chain.Do(f.Context(), holder, job, time.Second, quiet)
			var conflict *deploy.ConflictError
			if err != nil && !errors.As(err, &conflict) {
				t.Fatal(err)
			}
			if want := m.step(commit, kind, to); want != (err == nil && !already) {
				t.Fatalf("%s of %d: published %t, want %t: %v", kind, commit, err == nil && !already, want, err)
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

// mgmt runs what was gone back to: payload and superblock are those of the earlier deploy.
func TestRollbackOfMgmts(t *testing.T) {
	t.Parallel()
	f := newSetup(t).onMgmt()
	all := files{"main.mcl": regular("import \"fmt\"\n"), "files/motd": regular("hello\n"),
		"large": regular(noise(1<<20 + 7))}
	first := f.repo.commit("first", all)
	if _, _, err := f.do(f.mgmtJob(record.Lang, first)); err != nil {
		t.Fatal(err)
	}
	before := f.dump()
	second := f.mgmtJob(record.Lang, f.repo.commit("second", files{"main.mcl": regular("broken")}, first))
	second.Settings.Noop = true
	if _, _, err := f.do(second); err != nil {
		t.Fatal(err)
	}
	for key, value := range before {
		if strings.Contains(key, "/storage/") || strings.Contains(key, "/fs/") {
			f.delete(key)
			_, _, err := f.do(f.back(1))
			fixture.WantReason(t, fault.Refused, err, "deploy-content-gone 1 "+first.String())
			f.put(key, value)
		}
	}
	d := f.rollback(1)
	ran := f.runs()
	if ran.ID != 3 || ran.Name != "lang" || ran.Entry != "main.mcl" || ran.Hash != first.String() || ran.Noop {
		t.Errorf("mgmt runs %+v", ran)
	}
	if got := readAll(t, ran.FS, "files/motd"); got != "hello\n" {
		t.Errorf("files/motd is %q", got)
	}
	f.sameAsGit(d)
	parts, err := f.chain.MgmtParts(t.Context(), d)
	if err != nil || len(parts) == 0 {
		t.Errorf("%d parts, %v", len(parts), err)
	}
}

// A rollback takes as many txns and keys as ever, however large the tree is. (Reading what is there takes more.)
func TestRollbackOfManyFiles(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := files{}
	for i := range 20_000 {
		all[fmt.Sprintf("d%d/e%d/f%d", i%50, i/50%20, i)] = regular(fmt.Sprint(i))
	}
	first := f.repo.commit("first", all)
	f.deploy(first)
	f.deploy(f.repo.commit("second", files{"a": regular("all is gone")}, first))
	before := len(f.dump())
	puts := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		for _, op := range txn.thens {
			if op.IsPut() {
				puts++
			}
		}
		return txn.send()
	})
	start := time.Now()
	d := f.rollback(1)
	t.Logf("20,000 files in %s", time.Since(start))
	f.tap.on(nil)
	if after := len(f.dump()); after != before+3 || puts > 8 {
		t.Errorf("%d keys more, %d puts", after-before, puts)
	}
	if d.Record.Files != 20_000 {
		t.Errorf("%d files", d.Record.Files)
	}
}

// An answer that was lost does not make a hold, or its end, somebody else's.
func TestHoldAndResumeAskedTwice(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.deploy(f.one())
	lose := func() {
		f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
			f.tap.on(nil)
			if _, err := txn.send(); err != nil {
				return nil, err
			}
			return txn.send()
		})
	}
	lose()
	h := &record.Hold{User: "ops", Reason: "login is broken", Since: time.Now().UTC()}
	if err := f.chain.Hold(t.Context(), h); err != nil || f.state().Hold == nil {
		t.Errorf("hold: %v", err)
	}
	lose()
	ended, err := f.chain.Resume(t.Context(), &record.Event{Kind: record.EventResume, User: "ops"}, false)
	if err != nil || ended == nil || ended.Reason != h.Reason || f.state().Hold != nil {
		t.Errorf("resume: %+v, %v", ended, err)
	}
}

// A rollback does not need the commits in the repository: all that it publishes is in etcd.
func TestRollbackToACommitThatTheRepositoryLacks(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.deploy(f.one())
	other := f.job(f.repo.commit("other", files{"c": regular("1")}))
	other.Force, other.Reason = true, "start anew"
	if _, _, err := f.do(other); err != nil {
		t.Fatal(err)
	}
	job := f.back(1)
	job.Repo = newSetup(t).job(tree.OID{}).Repo
	d, _, err := f.do(job)
	if err != nil {
		t.Fatal(err)
	}
	f.wantUndone(d, undone(2, other.Commit))
}
