package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const headHash = record.Hash("0123456789012345678901234567890123456789")

var rings = record.Rings{Names: "canary,rest", Pause: time.Minute}

// state is a chain at deploy 7, which was put at revision 100, with a rollout of it that change has changed.
func state(kind record.Kind, change func(*record.Rollout)) *record.State {
	head := &record.Deploy{ID: 7, Hash: headHash, Record: &record.Record{ID: 7, Hash: headHash, Kind: kind}}
	head.Revisions[record.KeyRecord] = 100
	r := &record.Rollout{
		ID: 7, Hash: headHash, Rings: []string{"canary", "rest"}, Pause: record.RingPause(time.Minute),
		OnFailure: record.Stop, Released: 1, Since: noon.Add(-time.Hour), Ran: map[string]record.ID{"canary": 5, "rest": 4},
		Base: 4,
	}
	change(r)
	return &record.State{Head: head, Rollout: r, RolloutAt: 100}
}

// node is one that runs the head.
func node(name, ring string, change ...func(*store.Node)) store.Node {
	n := store.Node{
		NodeReport: &record.NodeReport{Name: name, ID: 7, Hash: headHash, State: record.NodeRunning, Wants: 7, Ring: ring},
		Alive:      true, Revision: 110,
	}
	for _, change := range change {
		change(&n)
	}
	return n
}

func fails(what record.NodeFailure) func(*store.Node) {
	return func(n *store.Node) {
		n.ID, n.State, n.Failure, n.Reason = 6, record.NodeFailed, what, "no good"
	}
}

func gone(n *store.Node)    { n.Alive = false }
func earlier(n *store.Node) { n.ID = 6 }

// said is a step in a few words.
func said(before *record.Rollout, s rollout.Step) string {
	var all []string
	if s.Back != nil {
		all = append(all, fmt.Sprintf("back from %d to %d: %s", s.Back.From, s.Back.To, s.Back.Why))
	}
	if r := s.Next; r != nil {
		if before == nil || before.ID != r.ID {
			all = append(all, fmt.Sprintf("noted %d", r.ID))
			before = &record.Rollout{Released: r.Released, Ran: r.Ran}
		}
		if r.Released != before.Released {
			all = append(all, "release "+r.Rings[r.Released-1])
		}
		if !cmp.Equal(r.Ran, before.Ran) {
			all = append(all, fmt.Sprint("ran ", r.Ran))
		}
		if !r.Whole.Equal(before.Whole) && !r.Whole.IsZero() {
			all = append(all, "whole since "+r.Whole.Format(time.TimeOnly))
		}
		if r.Whole.IsZero() && !before.Whole.IsZero() && r.Released == before.Released {
			all = append(all, "no longer whole")
		}
		if r.Stopped != before.Stopped && r.Stopped != "" {
			all = append(all, "stop: "+r.Stopped)
		}
		if r.Done {
			all = append(all, "done")
		}
	}
	if !s.At.IsZero() {
		all = append(all, "at "+s.At.Format(time.TimeOnly))
	}
	return strings.Join(all, ", ")
}

func TestJudge(t *testing.T) {
	t.Parallel()
	same := func(*record.Rollout) {}
	whole := func(ago time.Duration) func(*record.Rollout) {
		return func(r *record.Rollout) { r.Whole, r.Ran["canary"] = noon.Add(-ago), 7 }
	}
	all := func(r *record.Rollout) { r.Released, r.Ran["canary"] = 2, 7 }
	back := func(r *record.Rollout) { r.OnFailure = record.RollItBack }
	both := func(changes ...func(*record.Rollout)) func(*record.Rollout) {
		return func(r *record.Rollout) {
			for _, change := range changes {
				change(r)
			}
		}
	}
	canary, rest := node("n1", "canary"), node("n2", "rest")
	for _, c := range []struct {
		name  string
		r     func(*record.Rollout)
		nodes []store.Node
		want  string
	}{
		{"no node", same, nil, ""},
		{"an empty ring", same, []store.Node{rest}, ""},
		{"a ring whose nodes are gone", same, []store.Node{node("n1", "canary", gone)}, ""},
		{"one that has just become whole", same, []store.Node{canary}, "ran map[canary:7 rest:4], whole since 12:00:00, at 12:01:00"},
		{"one that is not whole yet", same, []store.Node{canary, node("n3", "canary", earlier)}, ""},
		{"a node that is gone", same, []store.Node{canary, node("n3", "canary", earlier, gone)},
			"ran map[canary:7 rest:4], whole since 12:00:00, at 12:01:00"},
		{"a node that has not reported", same, []store.Node{canary, {NodeReport: new(record.NodeReport), Alive: true}}, ""},
		{"the same number of another chain", same, []store.Node{node("n1", "canary", func(n *store.Node) { n.Hash = "" })}, ""},
		{"a pause", whole(time.Second), []store.Node{canary}, "at 12:00:59"},
		{"a pause that is over", whole(time.Minute), []store.Node{canary}, "release rest"},
		{"no longer whole", whole(time.Minute), []store.Node{node("n1", "canary", earlier)}, "no longer whole"},
		{"no longer alive", whole(time.Minute), []store.Node{node("n1", "canary", gone)}, "no longer whole"},
		{"a clock that went back", whole(-time.Hour), []store.Node{canary}, "whole since 12:00:00, at 12:01:00"},
		{"no pause", func(r *record.Rollout) { r.Pause = 0 }, []store.Node{canary}, "release rest, ran map[canary:7 rest:4]"},
		{"a stop", both(whole(time.Hour), func(r *record.Rollout) { r.Stopped = "x" }), []store.Node{canary}, ""},
		{"all released", both(all, func(r *record.Rollout) { r.Whole = noon.Add(-time.Hour) }), []store.Node{canary, rest},
			"ran map[canary:7 rest:7], done"},
		{"the last ring is empty", all, []store.Node{canary}, ""},
		{"the last ring has nodes without one", all, []store.Node{canary, node("n4", ""), node("n5", "odd")},
			"ran map[canary:7 rest:7], whole since 12:00:00, at 12:01:00"},
		{"somebody has promoted an empty ring", func(r *record.Rollout) { r.Released, r.Pause = 2, 0 }, []store.Node{rest},
			"ran map[canary:5 rest:7], whole since 12:00:00, done"},
		{"a ring that ran it is empty since", both(all, func(r *record.Rollout) { r.Pause = 0 }), []store.Node{rest},
			"ran map[canary:7 rest:7]"},
		{"done", func(r *record.Rollout) { r.Done = true }, []store.Node{node("n1", "canary", fails(record.FailedPrepare))}, ""},

		{"prepare fails", same, []store.Node{node("n1", "canary", fails(record.FailedPrepare))}, "stop: n1 (ring canary): no good"},
		{"a hook fails", same, []store.Node{canary, node("n3", "canary", fails(record.FailedHook))},
			"stop: n3 (ring canary): no good"},
		{"fetch fails", back, []store.Node{node("n1", "canary", fails(record.FailedFetch))}, ""},
		{"age fails", back, []store.Node{node("n1", "canary", fails(record.FailedAge))}, ""},
		{"a disk is full", back, []store.Node{node("n1", "canary", fails(record.FailedDisk))}, ""},
		{"something fails", back, []store.Node{node("n1", "canary", fails(""))}, ""},
		{"a node fails that is gone", back, []store.Node{node("n1", "canary", fails(record.FailedPrepare), gone)}, ""},
		{"a node fails for another deploy", back, []store.Node{node("n1", "canary", fails(record.FailedPrepare),
			func(n *store.Node) { n.Wants = 6 })}, ""},
		{"a node has failed before there was this deploy", back, []store.Node{node("n1", "canary",
			fails(record.FailedPrepare), func(n *store.Node) { n.Revision = 100 })}, ""},
		{"a node fails whose ring may not run it", back, []store.Node{node("n2", "rest", fails(record.FailedPrepare))}, ""},
		{"rollback", back, []store.Node{node("n1", "canary", fails(record.FailedPrepare))},
			"back from 7 to 5: n1 (ring canary): no good"},
		{"rollback of the last ring", both(all, back), []store.Node{canary, node("n2", "", fails(record.FailedHook))},
			"back from 7 to 4: n2 (ring rest): no good"},
		{"nothing to go back to", both(back, func(r *record.Rollout) { delete(r.Ran, "canary") }),
			[]store.Node{node("n1", "canary", fails(record.FailedPrepare))},
			"stop: no deploy is known that the ring canary ran whole, so that there is nothing to go back to; " +
				"n1 (ring canary): no good"},
		{"this is all that it ran", both(back, func(r *record.Rollout) { r.Ran["canary"] = 7 }),
			[]store.Node{node("n1", "canary", fails(record.FailedHook))},
			"stop: no deploy is known that the ring canary ran whole, so that there is nothing to go back to; " +
				"n1 (ring canary): no good"},
		{"a rollback was tried", both(back, func(r *record.Rollout) { r.Stopped = "x" }),
			[]store.Node{node("n1", "canary", fails(record.FailedPrepare))}, ""},
		{"nothing is left to stop", all, []store.Node{canary, node("n2", "rest", fails(record.FailedPrepare))}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := state(record.KindPush, c.r)
			before := s.Rollout.Clone()
			if got := said(s.Rollout, rollout.Judge(s, c.nodes, rings, noon)); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
			if !cmp.Equal(s.Rollout, before) {
				t.Error("it has changed what it was given")
			}
		})
	}
}

// Nothing is done where nobody may know what to do; and a head of all nodes is noted.
func TestJudgeLeavesAlone(t *testing.T) {
	t.Parallel()
	failing := []store.Node{node("n1", "canary", fails(record.FailedPrepare))}
	back := func(r *record.Rollout) { r.OnFailure = record.RollItBack }
	held := state(record.KindPush, back)
	held.Hold = &record.Hold{User: "ops"}
	broken := state(record.KindPush, back)
	broken.Rollout = &record.Rollout{Broken: true}
	damaged := state(record.KindPush, back)
	damaged.Head.Damage = record.Corrupt("/k", "it is odd")
	for name, s := range map[string]*record.State{
		"held": held, "broken": broken, "damaged": damaged, "empty": {},
	} {
		if got := said(s.Rollout, rollout.Judge(s, failing, rings, noon)); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	// A rollback is never rolled back, and neither is another writer's deploy.
	rolledBack := state(record.KindRollback, func(r *record.Rollout) { r.OnFailure, r.Released = record.RollItBack, 2 })
	if got := said(rolledBack.Rollout, rollout.Judge(rolledBack, failing, rings, noon)); got != "" {
		t.Errorf("a rollback: %s", got)
	}
	foreign := state(record.KindPush, back)
	foreign.Head.Record, foreign.Head.ID = nil, 8
	if got := said(foreign.Rollout, rollout.Judge(foreign, failing, rings, noon)); got != "noted 8" {
		t.Errorf("another writer's: %s", got)
	}
	noted := rollout.Judge(foreign, failing, rings, noon).Next
	if !noted.ToAll() || !cmp.Equal(noted.Ran, foreign.Rollout.Ran) {
		t.Errorf("noted is %+v", noted)
	}
	foreign.Rollout, foreign.Head.ID = noted, 8
	if got := said(foreign.Rollout, rollout.Judge(foreign, failing, rings, noon)); strings.Contains(got, "back") {
		t.Errorf("another writer's, noted: %s", got)
	}
	without := state(record.KindPush, back)
	without.Rollout = nil
	if next := rollout.Judge(without, nil, rings, noon).Next; next == nil || !next.ToAll() || next.ID != 7 {
		t.Errorf("a head of all: %+v", next)
	}
}

// Whatever nodes say: no ring is passed that does not run the deploy, and not before its pause is over.
func TestJudgeNeverSkips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := state(record.KindPush, func(r *record.Rollout) {
			r.Rings = []string{"a", "b", "c"}
			r.Ran = map[string]record.ID{}
			r.OnFailure = rapid.SampledFrom([]record.OnFailure{record.Stop, record.RollItBack}).Draw(t, "on failure")
		})
		states := []record.NodeState{
			record.NodeRunning, record.NodeFailed, record.NodeSwitching, record.NodeRefused, record.NodeWaiting,
		}
		var nodes []store.Node
		for i := range 6 {
			nodes = append(nodes, node(fmt.Sprint("n", i), rapid.SampledFrom([]string{"a", "b", "c", "", "odd"}).Draw(t, "ring")))
		}
		now, wholeSince := noon, map[int]time.Time{}
		for range 60 {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
			n := &nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "node")]
			n.Alive = rapid.IntRange(0, 4).Draw(t, "alive") > 0
			n.State = states[max(0, rapid.IntRange(-12, len(states)-1).Draw(t, "state"))]
			n.Failure = rapid.SampledFrom([]record.NodeFailure{"", record.FailedDisk, record.FailedPrepare}).Draw(t, "failure")
			n.ID = record.ID(rapid.SampledFrom([]int{7, 7, 7, 7, 6}).Draw(t, "runs"))
			for ring := range s.Rollout.Rings {
				alive, run := count(s.Rollout, nodes, ring)
				if _, is := wholeSince[ring]; alive == 0 || run < alive {
					delete(wholeSince, ring)
				} else if !is {
					wholeSince[ring] = now
				}
			}
			step := rollout.Judge(s, nodes, rings, now)
			if step.Back != nil && (step.Back.To >= 7 || step.Back.To == 0 || s.Rollout.OnFailure != record.RollItBack) {
				t.Fatalf("back to %d", step.Back.To)
			}
			if step.Next == nil {
				continue
			}
			was := s.Rollout
			s.Rollout = step.Next
			if s.Rollout.Released < was.Released || s.Rollout.Released > was.Released+1 {
				t.Fatalf("from %d rings to %d", was.Released, s.Rollout.Released)
			}
			if s.Rollout.Released == was.Released && !s.Rollout.Done {
				continue
			}
			for ring := range was.Rings[:was.Released] {
				since, is := wholeSince[ring]
				if !is || now.Sub(since) < time.Minute || was.Stopped != "" && !was.ToAll() {
					t.Fatalf("ring %d is passed; whole since %v, now %v, %+v", ring, since, now, was)
				}
			}
		}
	})
}

// count counts the living nodes of a ring, and those of them that run the deploy.
func count(r *record.Rollout, nodes []store.Node, ring int) (alive, run int) {
	for _, n := range nodes {
		if n.Alive && r.RingOf(n.Ring) == ring {
			alive++
			if n.ID == 7 && n.State == record.NodeRunning {
				run++
			}
		}
	}
	return alive, run
}

func TestWords(t *testing.T) {
	t.Parallel()
	same := func(*record.Rollout) {}
	canary := node("n1", "canary")
	const begin = "deploy 7 is released to canary; 1 ring waits (rest): "
	for want, c := range map[string]struct {
		r     func(*record.Rollout)
		nodes []store.Node
	}{
		begin + "no node of canary is alive":                         {same, nil},
		begin + "1 of 2 nodes of canary run it":                      {same, []store.Node{canary, node("n3", "canary", earlier)}},
		begin + "a node has not reported yet":                        {same, []store.Node{canary, {NodeReport: new(record.NodeReport), Alive: true}}},
		begin + "until 2026-03-01T12:00:59Z":                         {func(r *record.Rollout) { r.Whole = noon.Add(-time.Second) }, []store.Node{canary}},
		begin + "a server has to release it, or somebody to promote": {same, []store.Node{canary}},
		begin + "stopped, until somebody promotes or deploys: x":     {func(r *record.Rollout) { r.Stopped = "x" }, nil},
		"": {func(r *record.Rollout) { r.Released = 2 }, nil},
		"deploy 7 is released to all rings, and was not rolled back: x": {
			func(r *record.Rollout) { r.Released, r.Stopped = 2, "x" }, nil,
		},
		"the rollout cannot be read: nodes stay at what they run until the next deploy": {
			func(r *record.Rollout) { *r = record.Rollout{Broken: true} }, nil,
		},
	} {
		if got := rollout.Words(state(record.KindPush, c.r), c.nodes, noon); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
