package deploy_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// ringed is a push to two rings.
func (f *setup) ringed(commit tree.OID) *deploy.Job {
	job := f.job(commit)
	job.Rings = record.Rings{Names: "canary,rest", Pause: time.Minute, OnFailure: record.RollItBack}
	return job
}

func (f *setup) deployRinged(commit tree.OID) *record.Deploy {
	f.Helper()
	d, already, err := f.do(f.ringed(commit))
	if err != nil || already {
		f.Fatalf("deploy %s: already %t, %v", commit, already, err)
	}
	return d
}

func (f *setup) promote() (deploy.Promotion, error) {
	return f.chain.Promote(f.Context(), record.Event{User: "ops", Host: "host", Time: time.Now().UTC()})
}

// The txn that publishes a deploy says which ring may run it: never the one without the other.
func TestPublishPutsTheRollout(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 6)
	f.deploy(line[0])
	if state := f.state(); state.Rollout != nil || state.RolloutAt != 0 {
		t.Errorf("without rings: %+v", state.Rollout)
	}
	d := f.deployRinged(line[1])
	state := f.state()
	want := &record.Rollout{
		ID: 2, Hash: d.Hash, Rings: []string{"canary", "rest"}, Pause: record.RingPause(time.Minute),
		OnFailure: record.RollItBack, Released: 1, Since: d.Record.Time, Ran: map[string]record.ID{}, Base: 1,
	}
	if !cmp.Equal(state.Rollout, want) || state.RolloutAt != f.get(2).Revisions[record.KeyRecord] {
		t.Errorf("the rollout is %+v, put at %d", state.Rollout, state.RolloutAt)
	}
	// What all might run before stays what the others run.
	f.deployRinged(line[2])
	if r := f.state().Rollout; r.ID != 3 || r.Base != 1 || r.Released != 1 {
		t.Errorf("%+v", r)
	}
	// Somebody who deploys without a target knows nothing of rings, and changes nothing about them.
	job := f.job(line[3])
	job.Target = ""
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	if r := f.state().Rollout; r.ID != 4 || r.Base != 1 || r.Released != 1 || r.OnFailure != record.RollItBack {
		t.Errorf("%+v", r)
	}
	// A rollback is for all at once; so is what a target without rings deploys.
	f.rollback(1)
	if r := f.state().Rollout; r.ID != 5 || !r.ToAll() || r.Done {
		t.Errorf("%+v", r)
	}
	job = f.job(line[4])
	job.Again = []record.ID{5}
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	if state := f.state(); state.Rollout != nil || state.RolloutAt != 0 {
		t.Errorf("%+v", state.Rollout)
	}
	f.rollback(1)
	if state := f.state(); state.Rollout != nil {
		t.Errorf("a rollback without a rollout before: %+v", state.Rollout)
	}
}

// A rollout that goes on between the look and the publish makes the publish begin anew: else a ring's base is lost.
func TestPublishComparesTheRollout(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	f.deploy(line[0])
	f.deployRinged(line[1])
	p, _ := f.prepareChecked(f.ringed(line[2]))
	if err := p.Upload(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if done, err := f.promote(); err != nil || done.Ring != "rest" {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := p.Publish(t.Context()); !errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("got %v", err)
	}
	if state := f.state(); state.Head.ID != 2 || !state.Rollout.ToAll() {
		t.Errorf("deploy %d, %+v", state.Head.ID, state.Rollout)
	}
}

func TestPublishAgainAfterThat(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	f.deploy(line[0])
	f.deployRinged(line[1])
	if _, err := f.promote(); err != nil {
		t.Fatal(err)
	}
	f.deployRinged(line[2])
	if r := f.state().Rollout; r.ID != 3 || r.Base != 2 {
		t.Errorf("%+v", r)
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	if done, err := f.promote(); err != nil || done.Rollout != nil {
		t.Errorf("an empty chain: %+v, %v", done, err)
	}
	line := f.line("main", 3)
	f.deploy(line[0])
	if done, err := f.promote(); err != nil || done.Rollout != nil {
		t.Errorf("no rollout: %+v, %v", done, err)
	}
	f.deployRinged(line[1])
	hold := &record.Hold{User: "ops", Reason: "wait", Since: time.Now()}
	if err := f.chain.Hold(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	_, err := f.promote()
	fixture.WantReason(t, fault.Conflict, err, "chain-held "+namespace+" ops")
	if _, err := f.chain.Resume(t.Context(), &record.Event{Kind: record.EventResume, User: "ops"}, false); err != nil {
		t.Fatal(err)
	}
	// Two at once release two rings at most, and each says which: here there is only one.
	var mu sync.Mutex
	var all sync.WaitGroup
	released := map[string]int{}
	for range 4 {
		all.Go(func() {
			done, err := f.promote()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			released[done.Ring]++
		})
	}
	all.Wait()
	if !cmp.Equal(released, map[string]int{"rest": 1, "": 3}) || f.state().Rollout.Released != 2 {
		t.Errorf("released %v, %+v", released, f.state().Rollout)
	}
	events, err := f.chain.Events(t.Context())
	if err != nil || len(events) != 3 || events[0].Kind != record.EventPromote || events[0].User != "ops" ||
		events[0].Reason != "deploy 2 to the ring rest" {
		t.Errorf("%+v, %v", events, err)
	}
	if _, err := f.client.Put(t.Context(), own+"rollout", "junk"); err != nil {
		t.Fatal(err)
	}
	_, err = f.promote()
	fixture.WantFault(t, fault.Corrupt, err, own+"rollout", "")
	f.deployRinged(line[2])
	if r := f.state().Rollout; r.Broken || r.ID != 3 || r.Base != 0 {
		t.Errorf("after junk: %+v", r)
	}
}

// A rollback that no person has asked for stops at a hold, and replaces only the head that has failed.
func TestUnaskedRollback(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 3)
	f.deploy(line[0])
	f.deployRinged(line[1])
	unasked := func(from record.ID) error {
		job := f.back(1)
		job.From, job.Unasked = from, true
		_, _, err := f.do(job)
		return err
	}
	fixture.WantFault(t, fault.Conflict, unasked(1), "it was at deploy 1 when the rollback was asked for", "")
	if err := f.chain.Hold(t.Context(), &record.Hold{User: "ops", Reason: "wait", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	fixture.WantReason(t, fault.Conflict, unasked(2), "chain-held "+namespace+" ops")
	if _, err := f.chain.Resume(t.Context(), &record.Event{Kind: record.EventResume, User: "ops"}, false); err != nil {
		t.Fatal(err)
	}
	// A hold that comes between is seen by the txn.
	job := f.back(1)
	job.From, job.Unasked = 2, true
	p, _ := f.prepareChecked(job)
	if err := p.Upload(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if err := f.chain.Hold(t.Context(), &record.Hold{User: "ops", Reason: "wait", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	_, err := p.Publish(t.Context())
	fixture.WantReason(t, fault.Conflict, err, "chain-held "+namespace+" ops")
	if head := f.state().Head; head.ID != 2 {
		t.Errorf("the head is %d", head.ID)
	}
}

// A step of a rollout, by what was read before, changes nothing when it is another one since.
func TestAdvanceCompares(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	line := f.line("main", 4)
	f.deploy(line[0])
	advance := func(was *record.State, next *record.Rollout) bool {
		t.Helper()
		done, err := f.chain.Advance(t.Context(), was, next)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	none := f.state()
	noted := none.Rollout.NoteHead(none.Head, record.Rings{Names: "a,b"}, time.Now())
	for range 2 { // twice is as good as once
		if !advance(none, noted) {
			t.Error("a head is not noted")
		}
	}
	if advance(none, noted.Stop("x")) {
		t.Error("it was put twice")
	}
	before := f.state()
	f.deployRinged(line[1])
	if advance(before, before.Rollout.Stop("x")) {
		t.Error("there is another head")
	}
	now := f.state()
	if err := f.chain.Hold(t.Context(), &record.Hold{User: "ops", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if advance(now, now.Rollout.Release(time.Now())) {
		t.Error("the chain is on hold")
	}
	if r := f.state().Rollout; r.Released != 1 || r.Stopped != "" {
		t.Errorf("%+v", r)
	}
}
