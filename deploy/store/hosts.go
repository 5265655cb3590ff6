package store

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/record"
	"refship/deploy/text"
)

// maxBack is how many deploys, from the head down, are looked at for the hashes that hosts wrote.
const maxBack = 8 * MaxQueries

// hosts reads what mgmt's hosts wrote: hashes, which the code that is deployed has from its version file.
func (c *Chain) hosts(ctx context.Context, revision int64) ([]Node, error) {
	prefix := string(c.ns) + record.HostKeys
	found, _, err := c.below(ctx, revision, prefix, false)
	if err != nil {
		return nil, err
	}
	var nodes []Node
	ids := map[record.Hash]record.ID{}
	for _, kv := range found {
		name := strings.TrimPrefix(kv.Key, prefix)
		if strings.Contains(name, "/") { // code can write any key: this one is no host's
			continue
		}
		n := &record.NodeReport{Name: name, State: record.NodeRunning}
		if hash, err := record.ParseHash(strings.TrimSpace(string(kv.Value))); err == nil {
			n.Hash, ids[hash] = hash, 0
		} else {
			n.Reason = fmt.Sprintf("it wrote %s, which is no deploy hash", text.Mention(text.Clip(string(kv.Value))))
		}
		nodes = append(nodes, Node{NodeReport: n, Alive: true, Host: true, Revision: kv.Revision})
	}
	if err := c.newestOf(ctx, ids); err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if n.ID = ids[n.Hash]; n.ID == 0 && n.Hash != "" {
			n.Reason = fmt.Sprintf("it runs %s, which none of the last %d deploys has", n.Hash.Short(), maxBack)
		}
	}
	return nodes, nil
}

// newestOf finds the newest deploy with each of the hashes.
func (c *Chain) newestOf(ctx context.Context, ids map[record.Hash]record.ID) error {
	if len(ids) == 0 {
		return nil
	}
	state, err := c.State(ctx) // after the hosts were read: it is no older than what they run
	if err != nil || state.Head == nil {
		return err
	}
	id, missing := state.Head.ID, len(ids)
	for looked := 0; looked < maxBack && id > 0 && missing > 0; looked += MaxQueries {
		var queries []Query
		for ; id > 0 && len(queries) < MaxQueries; id-- {
			queries = append(queries, Query{Key: c.DeployKey(id, record.KeyHash)})
		}
		found, _, err := c.reader.Read(ctx, 0, queries)
		if err != nil {
			return err
		}
		for i, kvs := range found {
			if len(kvs) == 0 {
				continue
			}
			hash := record.Hash(kvs[0].Value)
			if known, asked := ids[hash]; asked && known == 0 {
				ids[hash] = id + record.ID(len(queries)-i)
				missing--
			}
		}
	}
	return nil
}
