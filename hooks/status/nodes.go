package status

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/store"
	"refship/deploy/text"
)

// Nodes are a chain's nodes, and what they should run.
type Nodes struct {
	All   []store.Node
	State *record.State
	rings bool // one of them has a ring
}

// ReadNodes reads them. A damaged head is an error.
func ReadNodes(ctx context.Context, chain *store.Chain) (*Nodes, error) {
	all, err := chain.Reports(ctx)
	if err != nil {
		return nil, err
	}
	state, err := chain.State(ctx)
	switch {
	case err != nil:
		return nil, err
	case state.Head != nil && state.Head.Damage != nil:
		return nil, state.Head.Damage
	}
	rings := slices.ContainsFunc(all, func(n store.Node) bool { return n.Ring != "" })
	return &Nodes{all, state, rings}, nil
}

// WriteNodes prints the nodes of a chain, a line each: see Nodes.Line. where says where the chain is, and how its rollout
// stands. amiss: IsAmiss of a node.
func WriteNodes(ctx context.Context, w io.Writer, chain *store.Chain) (where []string, amiss bool, err error) {
	nodes, err := ReadNodes(ctx, chain)
	if err != nil {
		return nil, false, err
	}
	table, now := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), time.Now()
	for _, n := range nodes.All {
		amiss = amiss || nodes.IsAmiss(n)
		if _, err := fmt.Fprintln(table, nodes.Line(n, now)); err != nil {
			return nil, false, err
		}
	}
	return nodes.Where(chain, now), amiss, table.Flush()
}

// IsBehind tells whether a node does not run the head.
func (s *Nodes) IsBehind(n store.Node) bool { return s.State.Head != nil && n.ID != s.State.Head.ID }

// IsAmiss tells whether a node does not run the head, or what it runs has drifted.
func (s *Nodes) IsAmiss(n store.Node) bool { return s.IsBehind(n) || n.State == record.NodeDrifted }

// Where says at which deploy the nodes' chain is, and how its rollout stands.
func (s *Nodes) Where(chain *store.Chain, now time.Time) []string {
	at := chain.Namespace().Undeployed()
	if head := s.State.Head; head != nil {
		at = fmt.Sprintf("%s is at deploy %d, %s", chain.Namespace(), head.ID, head.ShortHash())
	}
	if len(s.All) == 0 {
		at += "; no node has reported"
	}
	lines := []string{at}
	if words := rollout.Words(s.State, s.All, now); words != "" {
		lines = append(lines, words)
	}
	return lines
}

// Line is a node in columns with tabs between: name, its ring if there are some, deploy, hash, since when, and how it
// stands.
func (s *Nodes) Line(n store.Node, now time.Time) string {
	id, hash, since := "-", "-", "-"
	if n.ID != 0 {
		id, hash = n.ID.String(), text.Printable(record.Hash(text.Shorten(string(n.Hash), 80)).Short())
		if !n.Since.IsZero() { // a host does not say
			since = text.Age(now.Sub(n.Since))
		}
	}
	columns := []string{text.Printable(n.Name)}
	if s.rings {
		columns = append(columns, cmp.Or(text.Printable(text.Clip(n.Ring)), "-"))
	}
	return strings.Join(append(columns, id, hash, since, s.stands(n)), "\t")
}

func (s *Nodes) stands(n store.Node) string {
	words := text.Printable(text.Clip(string(n.State)))
	if n.State == record.NodeSwitching && n.Wants != 0 {
		words += fmt.Sprintf(" to %d", n.Wants)
	}
	if s.IsBehind(n) && n.State == record.NodeRunning {
		words = "behind"
	}
	if n.Reason != "" && (n.State != record.NodeWaiting || n.Wants != 0) {
		words += ": " + text.Printable(n.Reason)
	}
	if !n.Alive {
		words = "gone, and was " + words
		if !n.Time.IsZero() {
			words += ", last heard " + n.Time.UTC().Format(time.RFC3339)
		}
	}
	return words
}
