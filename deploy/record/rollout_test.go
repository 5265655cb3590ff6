package record_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// headOf is a deploy as a chain has it.
func headOf(id record.ID, kind record.Kind) *record.Deploy {
	hash := record.Hash(strings.Repeat("a", 38) + "0" + strconv.Itoa(int(id%10)))
	return &record.Deploy{
		ID: id, Hash: hash, Record: &record.Record{ID: id, Hash: hash, Kind: kind, Time: time.Unix(int64(id), 0).UTC()},
	}
}

func TestRingsValidate(t *testing.T) {
	t.Parallel()
	for _, good := range []record.Rings{
		{},
		{Names: "canary,rest"},
		{Names: "a,b,c-1", Pause: time.Hour, OnFailure: record.Stop},
		{Names: "a,b", OnFailure: record.RollItBack},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	many := make([]string, 17)
	for i := range many {
		many[i] = "r" + strconv.Itoa(i)
	}
	for _, bad := range []record.Rings{
		{Names: "canary"}, {Names: "a,a"}, {Names: "a,"}, {Names: ",a"}, {Names: "a, b"}, {Names: "a,B"}, {Names: "a,-b"},
		{Names: "a,b", Pause: -1}, {Names: "a,b", Pause: 31 * 24 * time.Hour}, {Names: "a,b", OnFailure: "retry"},
		{Pause: time.Hour}, {OnFailure: record.Stop}, {Names: record.RingNames(strings.Join(many, ","))},
	} {
		fixture.WantFault(t, fault.Refused, bad.Validate(), "", "")
	}
}

// What cannot be read lets nobody run anything new.
func TestBrokenRollout(t *testing.T) {
	t.Parallel()
	head := headOf(7, record.KindPush)
	for _, value := range []string{
		"", "null", "{}", "7", `{"id":7}`, `{"id":7,"rings":["a","b"],"released":0}`,
		`{"id":7,"rings":["a","b"],"released":3}`, `{"id":7,"rings":["a","a"],"released":1}`,
		`{"id":7,"rings":["A"],"released":1}`, `{"id":0,"rings":["a","b"],"released":1}`,
		`{"id":7,"rings":["a","b"],"released":1,"pause":"soon"}`, `{"id":7,"rings":["a","b"],"released":-1}`,
		`{"id":7,"rings":["a","b"],"released":1,"base":7}`, `{"id":7,"rings":["a","b"],"released":1,"base":-1}`,
	} {
		r := record.ParseRollout([]byte(value))
		if !r.Broken || r.Allows("a", head) || r.Allows("", head) || r.IsOf(head) || r.Keeps() != nil {
			t.Errorf("%q: %+v", value, r)
		}
		next := r.Follow(headOf(8, record.KindPush), record.Rings{Names: "a,b"}, head)
		if next == nil || next.Base != 0 {
			t.Errorf("%q: the next is %+v, and nobody knows what all might run", value, next)
		}
	}
}

func TestRolloutAllows(t *testing.T) {
	t.Parallel()
	head := headOf(7, record.KindPush)
	r := &record.Rollout{ID: 7, Hash: head.Hash, Rings: []string{"canary", "some", "rest"}, Released: 2, Base: 4}
	if again := record.ParseRollout(r.Encode()); !cmp.Equal(again, r) {
		t.Errorf("it is read as %+v", again)
	}
	for ring, want := range map[string]bool{"canary": true, "some": true, "rest": false, "": false, "other": false} {
		if got := r.Allows(ring, head); got != want {
			t.Errorf("ring %q: %t", ring, got)
		}
	}
	all := r.Release(time.Now())
	for _, ring := range []string{"canary", "rest", "", "other"} {
		if !all.Allows(ring, head) {
			t.Errorf("ring %q may not run what is released to all", ring)
		}
		if !r.Allows(ring, headOf(8, record.KindPush)) || !(*record.Rollout)(nil).Allows(ring, head) {
			t.Errorf("ring %q: of another head it says nothing", ring)
		}
		// Who runs an older deploy than the head, since only that is witnessed, runs none that was for others.
		for id, want := range map[record.ID]bool{4: true, 5: ring == "canary", 6: ring == "canary"} {
			if got := r.Allows(ring, headOf(id, record.KindPush)); got != want {
				t.Errorf("ring %q may run deploy %d: %t", ring, id, got)
			}
		}
	}
	if r.Released != 2 {
		t.Error("a release has changed the one before")
	}
}

// Whatever is published and released: nodes that wait run what all might run last, and what rings have run is known.
func TestRolloutsFollow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var r *record.Rollout
		var head *record.Deploy
		base, ran := record.ID(0), map[string]record.ID{} // what the model says
		for id := record.ID(1); id <= 30; id++ {
			kind := rapid.SampledFrom([]record.Kind{record.KindPush, record.KindDeploy, record.KindRollback}).Draw(t, "kind")
			names := rapid.SampledFrom([]record.RingNames{"", "a,b", "b,c,d"}).Draw(t, "rings")
			if head == nil {
				kind = record.KindPush
			}
			had := r != nil
			next := headOf(id, kind)
			r = r.Follow(next, record.Rings{Names: names}, head)
			head = next
			isBack := kind == record.KindRollback
			if want := isBack && had || !isBack && names != ""; (r != nil) != want {
				t.Fatalf("deploy %d, %s, rings %q: %+v", id, kind, names, r)
			}
			if r == nil {
				base, ran = id, map[string]record.ID{}
				continue
			}
			for name := range ran {
				if !slices.Contains(r.Rings, name) {
					delete(ran, name)
				}
			}
			if !r.IsOf(head) || r.Done || r.Stopped != "" || !r.Whole.IsZero() || !cmp.Equal(r.Ran, ran) {
				t.Fatalf("deploy %d: %+v, rings ran %v", id, r, ran)
			}
			if isBack != r.ToAll() || !isBack && r.Base != base {
				t.Fatalf("deploy %d, %s: %+v, base %d", id, kind, r, base)
			}
			for !r.ToAll() && rapid.Bool().Draw(t, "release") {
				r.Ran[r.Rings[r.Released-1]] = id
				ran[r.Rings[r.Released-1]] = id
				r = r.Release(time.Now())
			}
			for _, kept := range r.Keeps() {
				if kept == 0 || kept > id {
					t.Fatalf("deploy %d keeps %d", id, kept)
				}
			}
			if !r.ToAll() && base != 0 && !slices.Contains(r.Keeps(), base) {
				t.Fatalf("deploy %d does not keep %d, which waiting nodes run", id, base)
			}
			if r.ToAll() {
				base = id
			}
			r = record.ParseRollout(r.Encode())
		}
	})
}
