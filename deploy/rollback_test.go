package deploy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// back is the job that goes back to a deploy.
func (f *setup) back(id record.ID) *deploy.Job {
	f.Helper()
	return f.backTo(f.chain, id.String())
}

// backTo is the job that goes back to what a user names in a chain.
func (f *setup) backTo(chain *deploy.Chain, named string) *deploy.Job {
	f.Helper()
	which, err := record.ParseSelector(named)
	if err != nil {
		f.Fatal(err)
	}
	job, err := chain.NewRollback(f.Context(), which)
	if err != nil {
		f.Fatal(err)
	}
	job.Repo, job.Reason, job.Signer, job.Pusher = f.open(), "login is broken", f.signer, record.Pusher{Name: "ops"}
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
	want := []string{namespace + "/deploy/4/hash", namespace + "/deploy/4/record", namespace + "/deploy/4/signature",
		own + "log/4"}
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
	_, err = f.chain.NewRollback(t.Context(), record.Head)
	fixture.WantReason(t, fault.Refused, err, "deploy-without-record 4")
	nine, err := record.ParseSelector("9")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.chain.NewRollback(t.Context(), nine); err == nil {
		t.Error("there is no deploy 9")
	}
}

// gone is the reason of the refusal to go back to deploy 1, whose repository still has the commit.
func (f *setup) gone() string {
	f.Helper()
	return fmt.Sprintf("deploy-content-gone 1 %s %s config default %s", f.get(1).Hash, f.chain.Namespace(),
		f.repo.Dir)
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
		fixture.WantFault(t, fault.Refused, err, key, f.gone())
		f.put(key, value)
	}
	f.sameAsGit(f.rollback(1))
}

// With a path the commit leads to it by the trees above.
func TestRollbackToAPathThatIsNotWhole(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.path = "services/web"
	first := f.repo.commit("first", files{"services/web/sub/index": regular("one"), "services/api": regular("two")})
	f.deploy(first)
	before := f.dump()
	f.deploy(f.repo.commit("second", files{"services/web/index": regular("else")}, first))
	objects := 0
	for key, value := range before {
		if !strings.Contains(key, "/refship/object/") {
			continue
		}
		objects++
		f.delete(key)
		_, _, err := f.do(f.back(1))
		fixture.WantFault(t, fault.Refused, err, key, f.gone())
		f.put(key, value)
	}
	if objects != 3 { // the commit, and the trees with services and with web
		t.Errorf("%d git objects", objects)
	}
	f.sameAsGit(f.rollback(1))
}

// The refusal says where the commit still is, or that nobody knows.
func TestRollbackToWhatIsGone(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	first := f.repo.commit("first", files{"a": regular("one")})
	f.deploy(first)
	f.deploy(f.repo.commit("second", files{"a": regular("two")}, first))
	f.delete(f.chain.ObjectKey(first))
	short := record.CommitHash(first).Short()
	unknown := fmt.Sprintf("deploy-content-gone 1 %s %s   ", first, namespace)
	_, _, err := f.do(f.back(1))
	fixture.WantFault(t, fault.Refused, err, "; the repository config still has "+short, f.gone())
	job := f.back(1)
	job.Repo = newSetup(t).open()
	_, _, err = f.do(job)
	fixture.WantFault(t, fault.Refused, err, "; the repository config does not have "+short+" either", unknown)
	job = f.back(1)
	job.Repo = nil
	_, _, err = f.do(job)
	fixture.WantFault(t, fault.Refused, err, "; it came from the repository config", unknown)
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
	try.DryRun, try.Again = true, []record.ID{3}
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
			fixture.WantReason(t, fault.Refused, err, f.gone())
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

// The payload of a rollback names the superblock of the deploy that it went back to, and no other one.
func TestSuperblockOfARollback(t *testing.T) {
	t.Parallel()
	f := newSetup(t).onMgmt()
	var commit []tree.OID
	for _, name := range []string{"first", "second"} {
		all := files{"main.mcl": regular("import \"fmt\"\n"), "motd": regular("hello\n")}
		commit = append(commit, f.repo.commit(name, all, commit...))
		if _, _, err := f.do(f.mgmtJob(record.Lang, commit[len(commit)-1])); err != nil {
			t.Fatal(err)
		}
	}
	f.rollback(1)
	f.rollback(2)
	of1 := f.rollback(3) // a rollback of a rollback to 1
	if _, err := f.chain.MgmtParts(t.Context(), of1); err != nil {
		t.Error(err)
	}
	f.put(f.chain.DeployKey(of1.ID, record.KeyPayload), f.value(f.chain.DeployKey(2, record.KeyPayload)))
	_, err := f.chain.MgmtParts(t.Context(), of1)
	fixture.WantFault(t, fault.Corrupt, err, "which is not the superblock of deploy 1", "damaged")
	// Where a record on the way cannot be read, nothing is known.
	f.put(f.chain.DeployKey(3, record.KeyRecord), "{}")
	if _, err := f.chain.MgmtParts(t.Context(), of1); err != nil {
		t.Error(err)
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
	if after := len(f.dump()); after != before+4 || puts > 10 {
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
