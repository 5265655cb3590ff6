package deploy_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/record"
)

// small prepares a small deploy on top of another one; nil: it is none.
func (f *setup) small(job *deploy.Job) *deploy.Prepared {
	f.Helper()
	v, err := f.chain.Check(f.Context(), job)
	if err != nil {
		f.Fatal(err)
	}
	if !v.MayBeSmall(job) {
		return nil
	}
	p, err := f.chain.PrepareSmall(f.Context(), v, job, quiet)
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// TestSmall: what is small is stored by the txn that takes the lock, as it would be after the lock was taken.
func TestSmall(t *testing.T) {
	f := newSetup(t)
	all := files{"a": regular("one"), "dir/b": regular("two")}
	first := f.deploy(f.repo.commit("first", all))
	all["a"], all["dir/copy"] = regular("changed"), regular("one")
	p := f.small(f.job(f.repo.commit("second", all, first.Hash.OID())))
	if p == nil {
		t.Fatal("it is not small")
	}
	before := f.dump()
	lock, err := p.LockAndUpload(t.Context(), record.Holder{User: "me"})
	if err != nil || lock == nil {
		t.Fatalf("lock %v, %v", lock, err)
	}
	if f.value(own+"lock") == "" || len(f.dump()) < len(before)+4 {
		t.Error("the lock or what is stored is missing")
	}
	d, err := p.Publish(t.Context())
	if err != nil || d.ID != 2 {
		t.Fatalf("%+v, %v", d, err)
	}
	f.sameAsGit(d)
	if got := f.stored(); got.Bytes != f.holds() || got.Unsure != 0 || f.value(own+"lock") != "" {
		t.Errorf("%+v, want %d", got, f.holds())
	}
}

// TestSmallIsThereAlready: a deploy of which etcd has everything takes the lock, and stores nothing.
func TestSmallIsThereAlready(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", files{"a": regular("one")}))
	second := f.job(f.repo.commit("second", files{"a": regular("two")}, first.Hash.OID()))
	lock, err := f.small(second).LockAndUpload(t.Context(), record.Holder{User: "me"})
	if err == nil {
		err = lock.Unlock(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	p := f.small(second)
	if p == nil || p.Keys != 0 {
		t.Fatalf("got %+v", p)
	}
	if lock, err := p.LockAndUpload(t.Context(), record.Holder{User: "me"}); lock == nil || err != nil {
		t.Fatalf("lock %v, %v", lock, err)
	}
	if d, err := p.Publish(t.Context()); err != nil || d.ID != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestNotSmall: what takes several txns, or needs the lock before it is read, is left to Prepare, and costs little.
func TestNotSmall(t *testing.T) {
	f := newSetup(t)
	all := files{"a": regular("one")}
	firstCommit := f.repo.commit("first", all)
	if f.small(f.job(firstCommit)) != nil {
		t.Error("the first deploy of a chain is small: what the namespace holds is not known")
	}
	first := f.deploy(firstCommit)
	many, large := maps.Clone(all), maps.Clone(all)
	for i := range 200 {
		many[fmt.Sprint(i)] = regular(fmt.Sprint(i))
	}
	large["large"] = regular(strings.Repeat("x", 2<<20))
	forced := f.job(f.repo.commit("another line", files{"b": regular("b")}))
	forced.Force, forced.Reason = true, "why not"
	for name, job := range map[string]*deploy.Job{
		"many files": f.job(f.repo.commit("many", many, first.Hash.OID())),
		"large file": f.job(f.repo.commit("large", large, first.Hash.OID())),
		"forced":     forced,
	} {
		if f.small(job) != nil {
			t.Errorf("%s: it is small", name)
		}
	}
}

// TestSmallAndOvertaken: whatever happens to the chain between reading and storing, nothing is stored then.
func TestSmallAndOvertaken(t *testing.T) {
	for name, happens := range map[string]func(f *setup, first, second *record.Deploy){
		"locked":  func(f *setup, _, _ *record.Deploy) { f.put(own+"lock", "{}") },
		"held":    func(f *setup, _, _ *record.Deploy) { f.put(own+"hold", "{}") },
		"rollout": func(f *setup, _, _ *record.Deploy) { f.put(own+"rollout", "{}") },
		"another deploy": func(f *setup, _, second *record.Deploy) {
			f.deploy(f.repo.commit("overtakes", files{"c": regular("c")}, second.Hash.OID()))
		},
		"another's deploy": func(f *setup, _, _ *record.Deploy) { f.put("/refship/config/deploy/3/hash", "x") },
		"head altered": func(f *setup, _, second *record.Deploy) {
			f.put("/refship/config/deploy/2/record", string(second.RecordBytes))
		},
		"counted anew": func(f *setup, _, _ *record.Deploy) { f.put(own+"stored", f.value(own+"stored")) },
		"what it takes up is collected": func(f *setup, _, _ *record.Deploy) {
			f.delete("/refship/config/storage/{sha256}" + sha256Hex([]byte("old")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			first := f.deploy(f.repo.commit("first", files{"a": regular("old")}))
			second := f.deploy(f.repo.commit("second", files{"a": regular("new")}, first.Hash.OID()))
			p := f.small(f.job(f.repo.commit("third", files{"a": regular("old"), "b": regular("b")}, second.Hash.OID())))
			if p == nil {
				t.Fatal("it is not small")
			}
			happens(f, first, second)
			before := f.dump()
			if lock, err := p.LockAndUpload(t.Context(), record.Holder{User: "me"}); lock != nil || err != nil {
				t.Errorf("lock %v, %v", lock, err)
			}
			f.unchanged(before)
			p.Drop()
		})
	}
}

// TestSmallWithoutLease: a lease that has gone is found out by the txn, and the next one gets another.
func TestSmallWithoutLease(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("first", files{"a": regular("one")}))
	f.revokeAll()
	second := f.repo.commit("second", files{"a": regular("two")}, first.Hash.OID())
	p := f.small(f.job(second))
	lock, err := p.LockAndUpload(t.Context(), record.Holder{User: "me"})
	if lock != nil || err != nil {
		t.Fatalf("lock %v, %v", lock, err)
	}
	p.Drop()
	if d := f.deploy(second); d.ID != 2 {
		t.Errorf("deploy %d", d.ID)
	}
}
