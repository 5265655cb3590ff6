package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/store"
	"refship/deploy/text"
)

// maxNodes is how many nodes are shown.
const maxNodes = 2000

// nodesPage are a chain's nodes by ring.
type nodesPage struct {
	links
	Head  *record.Deploy
	Rings []ring
	Words string // how the rollout stands; "": there is nothing to say of it
	Count nodeCount
	Left  int // nodes that are not shown
}

// ring is a ring, and its nodes.
type ring struct {
	Name  string
	May   bool // run the head
	Nodes []nodeRow
	Count nodeCount
}

// nodeRow is a node.
type nodeRow struct {
	store.Node
	Behind bool // it does not run the head
}

// State is what a node does, in words.
func (n nodeRow) Does() string {
	switch {
	case !n.Alive:
		return "gone, and was " + text.Printable(text.Clip(string(n.Node.State)))
	case n.Behind && n.Node.State == record.NodeRunning:
		return "behind"
	case n.Node.State == record.NodeSwitching && n.Wants != 0:
		return "switching to " + n.Wants.String()
	}
	return text.Printable(text.Clip(string(n.Node.State)))
}

// Class is one of the stylesheet's.
func (n nodeRow) Class() string {
	switch is := n.Node.State; {
	case is == record.NodeFailed, is == record.NodeRefused, is == record.NodeDrifted, !n.Alive:
		return "bad"
	case n.Behind:
		return "held"
	}
	return "good"
}

// nodes answers with a chain's nodes.
func (w *Web) nodes(ctx context.Context, q *request) error {
	chain, of := w.open(q), linksOf(q.repo, q.target)
	state, err := chain.State(ctx)
	if err != nil {
		return err
	}
	all, err := chain.Reports(ctx)
	if err != nil {
		return err
	}
	page := nodesPage{
		links: of, Head: state.Head, Words: rollout.Words(state, all, time.Now()), Count: countNodes(all, state.Head),
	}
	page.fill(state, all)
	w.render(q, http.StatusOK, "nodes", view{
		Title: "Nodes of " + of.name, Chain: &of, Events: of.Events(), Page: page,
	})
	return nil
}

// fill sorts nodes into rings: those of the rollout in its order, then others by name, then nodes without one.
func (p *nodesPage) fill(state *record.State, all []store.Node) {
	byName := map[string]*ring{}
	var rings []*ring
	order := func(name string) int {
		if state.Rollout == nil {
			return 0
		}
		if at := slices.Index(state.Rollout.Rings, name); at >= 0 {
			return at
		}
		return len(state.Rollout.Rings)
	}
	for i, n := range all {
		if i == maxNodes {
			p.Left = len(all) - maxNodes
			break
		}
		r := byName[n.Ring]
		if r == nil {
			r = &ring{Name: n.Ring, May: state.Head == nil || state.Rollout.Allows(n.Ring, state.Head)}
			byName[n.Ring], rings = r, append(rings, r)
		}
		r.Nodes = append(r.Nodes, nodeRow{n, state.Head != nil && n.ID != state.Head.ID})
		if r.Count.All++; state.Head != nil && n.ID == state.Head.ID {
			r.Count.Run++
		}
	}
	slices.SortFunc(rings, func(a, b *ring) int {
		if (a.Name == "") != (b.Name == "") {
			if a.Name == "" {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(order(a.Name), order(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	for _, r := range rings {
		p.Rings = append(p.Rings, *r)
	}
}
