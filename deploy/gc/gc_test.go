package gc_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/gc"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// five deploys: each has a file of its own, one that the next has too, one that all have, and a large one.
func (f *setup) five() {
	f.Helper()
	for i := 1; i <= 5; i++ {
		f.deploy(files{
			"own/" + strconv.Itoa(i): "own " + strconv.Itoa(i), "own/large": fixture.Content(i, 2*tree.ChunkSize+7),
			"next/a/" + strconv.Itoa(i/2): "next", "next/b": "next " + strconv.Itoa(i/2), "all/a": "all", "all/b/c": "all",
		})
	}
}

func TestKeepsTheNewest(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.five()
	before := f.content()
	planned, told := f.collect(2, dryRun)
	if diff := cmp.Diff(before, f.content()); diff != "" {
		t.Fatalf("a dry run changed:\n%s", diff)
	}
	result, gone := f.collect(2)
	keys, bytes := lost(before, f.content())
	want := gc.Result{Kept: 2, Deploys: 3, Keys: len(keys), Bytes: bytes}
	if !cmp.Equal(*result, want) || !cmp.Equal(*planned, want) {
		t.Errorf("result %+v, planned %+v, want %+v", *result, *planned, want)
	}
	if diff := cmp.Diff(told, gone); diff != "" {
		t.Errorf("told by a dry run -, by the run +:\n%s", diff)
	}
	for i, g := range gone {
		if g.Deploy != record.ID(i+1) || g.Keys < 5 || g.Bytes < 2*tree.ChunkSize {
			t.Errorf("deploy %d loses %+v", i+1, g)
		}
	}
	f.wantWhole(4, 5)
	f.wantExpired(1, 2, 3)
	f.wantStored()
	need := f.needs(4, 5)
	for key := range f.content() {
		if !need[key] {
			t.Errorf("%s is left", key)
		}
	}
	// The history stays.
	count := 0
	err := f.Chain().Log(t.Context(), 0, func(d *record.Deploy) error { count++; return d.Damage })
	if err != nil || count != 5 {
		t.Errorf("%d deploys: %v", count, err)
	}
	if result, _ := f.collect(2); !cmp.Equal(*result, gc.Result{Kept: 2}) {
		t.Errorf("a second run: %+v", result)
	}
	if result, _ := f.collect(5); !cmp.Equal(*result, gc.Result{Kept: 5}) {
		t.Errorf("expired deploys that are to be kept: %+v", result)
	}
	// What was taken comes again with a deploy that has it.
	f.deploy(files{"own/1": "own 1", "own/large": fixture.Content(1, 2*tree.ChunkSize+7)})
	f.wantWhole(6)
	f.wantStored()
}

func TestKeepsWhatIsNew(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.five()
	result, gone := f.collect(1, func(cfg *gc.Config) { cfg.KeepWithin = time.Hour })
	if !cmp.Equal(*result, gc.Result{Kept: 5}) || gone != nil {
		t.Errorf("%+v %v", result, gone)
	}
	f.wantWhole(1, 2, 3, 4, 5)
	if result, _ = f.collect(0); result.Kept != 1 || result.Deploys != 4 {
		t.Errorf("the head alone: %+v", result)
	}
	f.wantWhole(5)
}

func TestPins(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.five()
	f.pin(2, false)
	f.pin(2, true)
	result, gone := f.collect(2)
	if result.Kept != 3 || !cmp.Equal(result.Pinned, []record.ID{2}) || len(gone) != 2 {
		t.Errorf("%+v %v", result, gone)
	}
	f.wantWhole(2, 4, 5)
	f.wantExpired(1, 3)
	d, err := f.Chain().Get(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Chain().Pin(t.Context(), d, &record.Pin{}, f.take)
	fixture.WantReason(t, fault.Refused, err, "pin-incomplete 3 "+string(d.Hash)+" "+namespace)
	if !strings.Contains(err.Error(), "deploy 3 of /refship/config is expired") {
		t.Error(err)
	}
	if was, err := f.Chain().Unpin(t.Context(), 2); err != nil || !was {
		t.Error(was, err)
	}
	if was, err := f.Chain().Unpin(t.Context(), 2); err != nil || was {
		t.Error(was, err)
	}
	if result, _ = f.collect(2); result.Deploys != 1 {
		t.Errorf("%+v", result)
	}
	f.wantExpired(2)
	f.wantStored()
}

// What nodes run that wait for their ring stays, and what each ring ran last.
func TestKeepsWhatARolloutNeeds(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.five()
	head, err := f.Chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &record.Rollout{
		ID: 5, Hash: head.Hash, Rings: []string{"a", "b"}, Released: 1, Base: 2, Ran: map[string]record.ID{"a": 3, "b": 99},
	}
	f.Put(namespace+"/refship/rollout", string(r.Encode()))
	result, gone := f.collect(1)
	if result.Kept != 3 || len(result.Pinned) > 0 || len(gone) != 2 {
		t.Errorf("%+v %v", result, gone)
	}
	f.wantWhole(2, 3, 5)
	f.wantExpired(1, 4)
	for id, want := range map[record.ID]bool{1: true, 2: false, 3: false, 4: true, 5: false} {
		if expired, err := f.Chain().IsExpired(t.Context(), id); err != nil || expired != want {
			t.Errorf("deploy %d is expired: %t, %v", id, expired, err)
		}
	}
	f.Put(namespace+"/refship/rollout", string(r.Release(time.Now()).Encode())) // no node waits any more
	f.collect(1)
	f.wantWhole(3, 5)
	f.wantExpired(2)
	f.Delete(namespace + "/refship/rollout")
	f.collect(1)
	f.wantExpired(3)
	f.wantStored()
}

func (f *setup) lock() *deploy.Lock {
	f.Helper()
	l, err := f.Chain().Lock(f.Context(), record.Holder{}, 0, func(record.Holder, time.Duration) {})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Unlock(f.Context()) })
	return l
}

func (f *setup) pin(id record.ID, want bool) {
	f.Helper()
	d, err := f.Chain().Get(f.Context(), id)
	if err != nil {
		f.Fatal(err)
	}
	before, err := f.Chain().Pin(f.Context(), d, &record.Pin{User: "ops", Since: time.Now()}, f.take)
	if err != nil || before != want {
		f.Errorf("pin %d: %t, %v", id, before, err)
	}
}

// take takes the chain's lock.
func (f *setup) take() (*deploy.Lock, error) {
	return f.Chain().Lock(f.Context(), record.Holder{}, 0, func(record.Holder, time.Duration) {})
}

// Leftovers of pushes go after a day, with all that they name, and not before.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.deploy(files{"a": "one"})
	old := f.leave("old", "shared")
	f.Put(namespace+"/storage/{sha256}"+strings.Repeat("a", 64), "without a node")
	f.Put(namespace+"/refship/tree/"+strings.Repeat("b", 40), "no node at all")
	yesterday := f.Put("elsewhere", "")
	young := f.leave("young", "shared")
	f.Put(namespace+"/storage/other", "no content")
	for _, runs := range []record.Runs{nil, {{Revision: yesterday, Time: time.Now().Add(-23 * time.Hour)}}} {
		f.Put(namespace+"/refship/gc", string(runs.Encode()))
		if result, _ := f.collect(1); !cmp.Equal(*result, gc.Result{Kept: 1}) {
			t.Fatalf("with runs %v: %+v", runs, result)
		}
	}
	runs := record.Runs{{Revision: yesterday, Time: time.Now().Add(-25 * time.Hour)}}
	f.Put(namespace+"/refship/gc", string(runs.Encode()))
	before := f.content()
	result, gone := f.collect(1)
	keys, bytes := lost(before, f.content())
	if len(gone) != 1 || gone[0] != (gc.Gone{Keys: len(keys), Bytes: bytes}) || result.Deploys != 0 {
		t.Errorf("%+v %+v, want %d keys of %d bytes", result, gone, len(keys), bytes)
	}
	after := f.content()
	for _, key := range old {
		if _, there := after[key]; there != strings.Contains(before[key], "shared") {
			t.Errorf("old: %s (%.40q) is there: %t", key, before[key], there)
		}
	}
	for _, key := range young {
		if _, there := after[key]; !there {
			t.Errorf("young: %s is gone", key)
		}
	}
	if len(keys) != 5 { // root, d and d/own of the push; what no node names; what is no node
		t.Errorf("gone are %v", keys)
	}
	if expired, err := f.Chain().Expired(t.Context()); err != nil || expired != 0 {
		t.Errorf("expired up to %d: %v", expired, err)
	}
}

// leave leaves what an upload brings that is never published: a file of its own, and one of all.
func (f *setup) leave(own, shared string) (keys []string) {
	f.Helper()
	before := f.content()
	c := f.Chain()
	head, err := c.Head(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	l := f.lock()
	commit := f.commit(files{"d/own": own, "e/shared": shared}, head.Hash.OID())
	p, err := c.Prepare(f.Context(), l, f.Job(commit), chain.Quiet)
	if err == nil {
		err = p.Upload(f.Context(), chain.Quiet)
	}
	if err == nil {
		err = l.Unlock(f.Context())
	}
	if err != nil {
		f.Fatal(err)
	}
	keys, _ = lost(f.content(), before)
	return keys
}

// A kept deploy of which something is not known ends it before anything is deleted.
func TestUnsure(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(f *setup, d *record.Deploy){
		"record": func(f *setup, d *record.Deploy) { f.Put(f.Chain().DeployKey(d.ID, record.KeyRecord), "{") },
		"node":   func(f *setup, d *record.Deploy) { f.Put(f.Chain().TreeKey(d.Record.Tree), "x") },
		"no node": func(f *setup, d *record.Deploy) {
			if _, err := f.KV.Delete(f.Context(), f.Chain().TreeKey(d.Record.Tree)); err != nil {
				f.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSetup(t)
			f.five()
			d, err := f.Chain().Get(t.Context(), 4)
			if err != nil {
				t.Fatal(err)
			}
			damage(f, d)
			before := f.content()
			_, err = gc.Run(t.Context(), gc.Config{Store: f.Store, KeepLast: 2}, f.Namespace)
			fixture.WantReason(t, fault.Corrupt, err, "gc-unsure /refship/config 4 1")
			if diff := cmp.Diff(before, f.content()); diff != "" {
				t.Errorf("something was deleted:\n%s", diff)
			}
			f.collect(1) // without the damaged one it can be told
			f.wantWhole(5)
		})
	}
}

// A thousand keys go in several txns, and the chain can be locked between.
func TestManyKeys(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := files{}
	for i := range 1000 {
		all[fmt.Sprintf("%d/%d/file", i%10, i)] = strconv.Itoa(i)
	}
	f.deploy(all)
	f.deploy(files{"0/0/file": "0"})
	before := f.content()
	result, _ := f.collect(1)
	keys, bytes := lost(before, f.content())
	if result.Keys != len(keys) || result.Bytes != bytes || len(keys) < 2000 {
		t.Errorf("%+v, gone are %d keys of %d bytes", result, len(keys), bytes)
	}
	f.wantWhole(2)
	f.wantStored()
}
