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
	Alive bool // its key on a lease is there; of a host it is not known, and true
	// Host: it is one of mgmt's, which says nothing but the hash of what it runs. ID is that of the newest deploy with
	// that hash.
	Host     bool
	Revision int64 // of its report; 0: it is alive, and has not reported
}

// Reports reads what nodes say of themselves, by name, and what mgmt's hosts do; at most MaxNodes of each.
func (c *Chain) Reports(ctx context.Context) ([]Node, error) {
	byName := map[string]*Node{}
	reports, revision, err := c.below(ctx, 0, c.Key(record.NodeKeys), false)
	var alive []KeyValue
	var hosts []Node
	if err == nil {
		alive, _, err = c.below(ctx, revision, c.Key(record.AliveKeys), true)
	}
	if err == nil && c.ns.IsMgmt() {
		hosts, err = c.hosts(ctx, revision)
	}
	if err != nil {
		return nil, fmt.Errorf("read reports of the nodes of %s: %w", c.ns, err)
	}
	for _, kv := range reports {
		name := strings.TrimPrefix(kv.Key, c.Key(record.NodeKeys))
		byName[name] = &Node{NodeReport: record.ParseNodeReport(name, kv.Value), Revision: kv.Revision}
	}
	for _, kv := range alive {
		name := strings.TrimPrefix(kv.Key, c.Key(record.AliveKeys))
		if byName[name] == nil {
			byName[name] = &Node{NodeReport: &record.NodeReport{Name: name, State: record.NodeSwitching}}
		}
		byName[name].Alive = true
	}
	nodes := hosts
	for _, n := range byName {
		nodes = append(nodes, *n)
	}
	slices.SortStableFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

// reportsTogether is how many keys are read together: no more than a gate allows.
const reportsTogether = 1000

// below reads the keys that begin with prefix, at one revision, MaxNodes of them at most.
func (c *Chain) below(ctx context.Context, revision int64, prefix string, noValues bool) ([]KeyValue, int64, error) {
	query := Query{Key: prefix, First: reportsTogether, NoValue: noValues}
	var all []KeyValue
	for len(all) < MaxNodes {
		found, at, err := c.reader.Read(ctx, revision, []Query{query})
		if err != nil {
			return nil, 0, err
		}
		revision = at
		all = append(all, found[0]...)
		if len(found[0]) < reportsTogether {
			break
		}
		query.After = all[len(all)-1].Key
	}
	return all, revision, nil
}
