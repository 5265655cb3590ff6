package status

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// WriteNodes prints the nodes of a chain, a line each: name, deploy, hash, since when, and how it stands. head says
// where the chain is. amiss: IsAmiss of a node.
func WriteNodes(ctx context.Context, w io.Writer, chain *store.Chain) (head string, amiss bool, err error) {
	nodes, err := chain.Reports(ctx)
	if err != nil {
		return "", false, err
	}
	newest, err := chain.Head(ctx)
	if err != nil {
		return "", false, err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, n := range nodes {
		amiss = amiss || IsAmiss(n, newest)
		if _, err := fmt.Fprintln(table, NodeLine(n, newest, time.Now())); err != nil {
			return "", false, err
		}
	}
	return WhereNodes(chain, nodes, newest), amiss, table.Flush()
}

// IsBehind tells whether a node does not run the head; nil: there is none.
func IsBehind(n store.Node, head *record.Deploy) bool { return head != nil && n.ID != head.ID }

// IsAmiss tells whether a node does not run the head, or what it runs has drifted.
func IsAmiss(n store.Node, head *record.Deploy) bool {
	return IsBehind(n, head) || n.State == record.NodeDrifted
}

// WhereNodes says at which deploy the nodes' chain is.
func WhereNodes(chain *store.Chain, nodes []store.Node, head *record.Deploy) string {
	at := chain.Namespace().Undeployed()
	if head != nil {
		at = fmt.Sprintf("%s is at deploy %d, %s", chain.Namespace(), head.ID, head.ShortHash())
	}
	if len(nodes) == 0 {
		at += "; no node has reported"
	}
	return at
}

// NodeLine is a node in columns with tabs between: name, deploy, hash, since when, and how it stands.
func NodeLine(n store.Node, head *record.Deploy, now time.Time) string {
	id, hash, since := "-", "-", "-"
	if n.ID != 0 {
		id, hash = n.ID.String(), text.Printable(record.Hash(text.Shorten(string(n.Hash), 80)).Short())
		if !n.Since.IsZero() { // a host does not say
			since = text.Age(now.Sub(n.Since))
		}
	}
	return strings.Join([]string{text.Printable(n.Name), id, hash, since, stands(n, head)}, "\t")
}

func stands(n store.Node, head *record.Deploy) string {
	words := text.Printable(text.Clip(string(n.State)))
	if n.State == record.NodeSwitching && n.Wants != 0 {
		words += fmt.Sprintf(" to %d", n.Wants)
	}
	if IsBehind(n, head) && n.State == record.NodeRunning {
		words = "behind"
	}
	if n.Reason != "" && n.State != record.NodeWaiting {
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
