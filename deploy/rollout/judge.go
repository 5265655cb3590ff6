package rollout

import (
	"fmt"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// Step is what a rollout needs. The zero value is nothing.
type Step struct {
	Next *record.Rollout // is to be put; nil: nothing is
	Back *Back           // is to be published; nil: nothing is
	At   time.Time       // when to look again though nothing changes; zero: never
}

// Back is a rollback that no person has asked for.
type Back struct {
	From record.ID // the head that has failed
	To   record.ID // what the ring ran whole last
	Why  string    // the node, its ring, and the node's reason
}

// Judge says what is to be done for a chain, whose target has rings, with its nodes.
func Judge(state *record.State, nodes []store.Node, rings record.Rings, now time.Time) Step {
	head, r := state.Head, state.Rollout
	switch {
	case head == nil, head.Damage != nil, state.Hold != nil, r != nil && r.Broken:
		return Step{}
	case !r.IsOf(head):
		return Step{Next: r.NoteHead(head, rings, now)}
	case r.Done:
		return Step{}
	}
	if n := failed(state, nodes); n != nil && r.Stopped == "" {
		if step := onFailure(state, n); step != (Step{}) {
			return step
		}
	}
	return advance(r, nodes, now)
}

// failed gives a node that could not prepare the head, or whose hook failed for it; nil: there is none.
func failed(state *record.State, nodes []store.Node) *store.Node {
	put := int64(0) // when the head was
	for _, revision := range state.Head.Revisions {
		put = max(put, revision)
	}
	for i, n := range nodes {
		counts := n.Failure == record.FailedPrepare || n.Failure == record.FailedHook
		if n.Alive && n.State == record.NodeFailed && counts && n.Wants == state.Head.ID && n.Revision > put &&
			state.Rollout.Allows(n.Ring, state.Head) {
			return &nodes[i]
		}
	}
	return nil
}

// onFailure says what a node's failure leads to.
func onFailure(state *record.State, n *store.Node) Step {
	r, head := state.Rollout, state.Head
	ring := r.Rings[r.RingOf(n.Ring)]
	why := fmt.Sprintf("%s (ring %s): %s", text.Clip(n.Name), ring, n.Reason)
	if r.OnFailure == record.RollItBack && isForward(head) {
		if to := r.Ran[ring]; to != 0 && to < head.ID {
			return Step{Back: &Back{From: head.ID, To: to, Why: text.Shorten(text.Printable(why), maxWhy)}}
		}
		why = "no deploy is known that the ring " + ring + " ran whole, so that there is nothing to go back to; " + why
	}
	if r.ToAll() {
		return Step{} // nothing is left that it could keep
	}
	return Step{Next: r.Stop(why)}
}

// maxWhy bounds a reason in a record, in bytes.
const maxWhy = 1000

// isForward tells whether somebody has pushed or deployed a head, which is no rollback then.
func isForward(head *record.Deploy) bool {
	return head.Record != nil && (head.Record.Kind == record.KindPush || head.Record.Kind == record.KindDeploy)
}

// advance says how a rollout goes on that no failure keeps.
func advance(r *record.Rollout, nodes []store.Node, now time.Time) Step {
	next, rings := r.Clone(), ringsOf(r, nodes)
	changed := false
	for i, ring := range rings[:r.Released] {
		if name := r.Rings[i]; ring.isWhole() && r.Ran[name] != r.ID {
			next.Ran[name] = r.ID
			changed = true
		}
	}
	if !areWhole(r, rings) {
		if !r.Whole.IsZero() {
			next.Whole = time.Time{}
			changed = true
		}
		return step(next, changed, time.Time{})
	}
	if r.Whole.IsZero() || r.Whole.After(now) {
		next.Whole = now
		changed = true
	}
	due := next.Whole.Add(time.Duration(r.Pause))
	switch {
	case r.Stopped != "" && !r.ToAll():
		return step(next, changed, time.Time{})
	case now.Before(due):
		return step(next, changed, due)
	case r.ToAll():
		next.Done = true
		return Step{Next: next}
	}
	return Step{Next: next.Release(now)}
}

func step(next *record.Rollout, changed bool, at time.Time) Step {
	if !changed {
		next = nil
	}
	return Step{Next: next, At: at}
}

// ring is what the living nodes of a ring do.
type ring struct {
	alive int
	run   int  // of these run the deploy
	mute  bool // a node is alive and has not reported yet: it may be one of this ring
}

// isWhole tells whether there is a node, and all run the deploy.
func (r ring) isWhole() bool { return r.alive > 0 && r.run == r.alive && !r.mute }

// ringsOf counts the nodes of each ring.
func ringsOf(r *record.Rollout, nodes []store.Node) []ring {
	rings := make([]ring, len(r.Rings))
	for _, n := range nodes {
		switch {
		case !n.Alive, n.Host: // mgmt's hosts know no rings
		case n.Revision == 0:
			for i := range rings {
				rings[i].mute = true
			}
		default:
			one := &rings[r.RingOf(n.Ring)]
			one.alive++
			if runs(n, r) {
				one.run++
			}
		}
	}
	return rings
}

// runs tells whether a node runs a rollout's deploy, and nothing of it has failed.
func runs(n store.Node, r *record.Rollout) bool {
	return n.ID == r.ID && n.Hash == r.Hash && n.State == record.NodeRunning
}

// areWhole tells whether all released rings are whole. One before the last released one that never ran the deploy may
// be empty: a person has promoted it so.
func areWhole(r *record.Rollout, rings []ring) bool {
	for i, one := range rings[:r.Released] {
		isPassed := i < r.Released-1 && one.alive == 0 && !one.mute && r.Ran[r.Rings[i]] != r.ID
		if !one.isWhole() && !isPassed {
			return false
		}
	}
	return true
}
