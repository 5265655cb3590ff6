package gc

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"refship/deploy/mgmt"
	"refship/deploy/record"
)

// plan puts what is not marked in order, and finds out which expired deploys lose what.
func (c *collector) plan(ctx context.Context, expire []*record.Deploy) error {
	for _, d := range expire { // the newest first
		if err := c.claim(ctx, d); err != nil {
			return err
		}
	}
	c.order = append(c.order, unmarked(c.blocks)...)
	nodes := unmarked(c.nodes)
	for _, t := range nodes {
		c.setHeight(t)
		c.setSizes(t.files) // also of what no deploy has claimed
	}
	slices.SortStableFunc(nodes, func(a, b *thing) int { return cmp.Compare(b.height, a.height) })
	c.order = append(append(c.order, nodes...), unmarked(c.contents)...)
	if err := c.measure(ctx); err != nil {
		return err
	}
	if len(c.order) > 0 && len(expire) > 0 {
		c.until = expire[0].ID // also where it cannot be told what that one had
	}
	c.count()
	return nil
}

func unmarked[K comparable](things map[K]*thing) []*thing {
	return slices.Collect(func(yield func(*thing) bool) {
		for t := range maps.Values(things) {
			if !t.marked && !yield(t) {
				return
			}
		}
	})
}

// claim notes what an expired deploy loses, but for what a newer one has claimed.
func (c *collector) claim(ctx context.Context, d *record.Deploy) error {
	if d.Record != nil {
		c.claimNode(d.Record.Tree, d.ID)
		if !d.Record.Frontend.IsMgmt() {
			return nil
		}
	}
	if len(unmarked(c.blocks)) == 0 {
		return nil
	}
	values, err := c.chain.Values(ctx, c.chain.DeployKey(d.ID, record.KeyPayload))
	if err != nil {
		return err
	}
	payload, err := mgmt.DecodePayload(values[0].Value)
	if err != nil {
		return nil //nolint:nilerr // what cannot be read names nothing
	}
	if block := c.blocks[string(c.ns)+payload.SuperblockPath()]; block != nil {
		c.claimThing(block, d.ID)
		for _, f := range block.files {
			c.claimThing(c.contents[f.sum], d.ID)
		}
	}
	return nil
}

// claimThing tells whether a thing, which may be nil, goes with a deploy, and was not claimed before.
func (c *collector) claimThing(t *thing, id record.ID) bool {
	if t == nil || t.marked || t.of != 0 {
		return false
	}
	t.of = id
	return true
}

func (c *collector) claimNode(at oid, id record.ID) {
	t := c.nodes[at]
	if !c.claimThing(t, id) {
		return
	}
	for _, dir := range t.dirs {
		c.claimNode(dir, id)
	}
	for _, f := range t.files {
		c.claimThing(c.contents[f.sum], id)
	}
}

// setHeight puts a node above all below it.
func (c *collector) setHeight(t *thing) int {
	if t.height == 0 {
		t.height = 1
		for _, dir := range t.dirs {
			if below := c.nodes[dir]; below != nil && !below.marked {
				t.height = max(t.height, 1+c.setHeight(below))
			}
		}
	}
	return t.height
}

func (c *collector) setSizes(files []file) {
	for _, f := range files {
		if t := c.contents[f.sum]; t != nil && !t.marked && f.size >= 0 {
			t.setSize(f.size)
		}
	}
}

// readAtOnce is how many values are read together only to know how long they are.
const readAtOnce = 16

// measure reads what nothing tells the size of: contents that no node names, and what cannot be read.
func (c *collector) measure(ctx context.Context) error {
	var parts []*part
	for _, t := range c.order {
		for i := range t.parts {
			if t.parts[i].bytes < 0 {
				parts = append(parts, &t.parts[i])
			}
		}
	}
	for some := range slices.Chunk(parts, readAtOnce) {
		keys := make([]string, len(some))
		for i, p := range some {
			keys[i] = p.key
		}
		values, err := c.chain.Values(ctx, keys...)
		if err != nil {
			return err
		}
		for i, p := range some {
			p.bytes = int64(len(values[i].Value))
		}
	}
	return nil
}

// count says what goes, deploy by deploy.
func (c *collector) count() {
	of := map[record.ID]*Gone{}
	for _, t := range c.order {
		g := of[t.of]
		if g == nil {
			g = &Gone{Deploy: t.of}
			of[t.of] = g
		}
		for _, p := range t.parts {
			g.Keys, g.Bytes = g.Keys+1, g.Bytes+p.bytes
			c.total += p.bytes
		}
	}
	for _, id := range slices.Sorted(maps.Keys(of)) {
		if id != 0 {
			c.result.Deploys++
		}
		if c.cfg.DryRun {
			c.result.Keys, c.result.Bytes = c.result.Keys+of[id].Keys, c.result.Bytes+of[id].Bytes
		}
		if c.cfg.Gone != nil {
			c.cfg.Gone(*of[id])
		}
	}
}
