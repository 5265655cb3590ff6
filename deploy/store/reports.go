package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/record"
)

// MaxNodes is how many nodes' reports are read.
const MaxNodes = 10_000

// Node is a node as a chain's keys tell of it.
type Node struct {
	*record.NodeReport
	Alive    bool  // its key on a lease is there
	Revision int64 // of its report; 0: it is alive, and has not reported
}

// Reports reads what nodes say of themselves, by name; at most MaxNodes of them.
func (c *Chain) Reports(ctx context.Context) ([]Node, error) {
	node, alive := c.Key(record.NodeKeys), c.Key(record.AliveKeys)
	found, _, err := c.reader.Read(ctx, 0, []Query{
		{Key: node, First: MaxNodes}, {Key: alive, First: MaxNodes, NoValue: true},
	})
	if err != nil {
		return nil, fmt.Errorf("read reports of the nodes of %s: %w", c.ns, err)
	}
	byName := map[string]*Node{}
	for _, kv := range found[0] {
		name := strings.TrimPrefix(kv.Key, node)
		byName[name] = &Node{NodeReport: record.ParseNodeReport(name, kv.Value), Revision: kv.Revision}
	}
	for _, kv := range found[1] {
		name := strings.TrimPrefix(kv.Key, alive)
		if byName[name] == nil {
			byName[name] = &Node{NodeReport: &record.NodeReport{Name: name, State: record.NodeSwitching}}
		}
		byName[name].Alive = true
	}
	nodes := make([]Node, 0, len(byName))
	for _, n := range byName {
		nodes = append(nodes, *n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}
