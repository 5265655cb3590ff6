package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"refship/deploy/record"
)

// Head reads the deploy with the highest id; nil if there is none yet, and fault.Corrupt if it is damaged. It costs two
// requests while the hint at NS/refship/head is right, and a few more, by doubling steps, when another writer is ahead
// of it.
func (c *Chain) Head(ctx context.Context) (*record.Deploy, error) {
	state, err := c.State(ctx)
	switch {
	case err != nil:
		return nil, err
	case state.Head != nil && state.Head.Damage != nil:
		return nil, state.Head.Damage
	}
	return state.Head, nil
}

// maxCompacted is how often a revision may be compacted between two requests: etcd compacts a few times an hour.
const maxCompacted = 10

// State reads head, hold, lock, rollout and what the namespace holds, as of one revision. The head may be damaged.
func (c *Chain) State(ctx context.Context) (*record.State, error) {
	for try := 1; ; try++ {
		state, hint, revision, err := c.marks(ctx)
		if err != nil {
			return nil, err
		}
		state.Revision = revision
		state.Head, err = c.headAt(ctx, revision, hint)
		switch {
		case err == nil:
			if !state.Stored.CountsTo(state.Head) {
				state.Stored = nil
			}
			return state, nil
		case !errors.Is(err, ErrCompacted) || try == maxCompacted:
			return nil, err
		} // the revision that the first answer named is compacted already: ask again
	}
}

// marks reads hold, lock, rollout and what is stored, and a hint at the head's id (0: no idea), and tells the revision.
func (c *Chain) marks(ctx context.Context) (state *record.State, hint record.ID, revision int64, err error) {
	keys := []Query{
		{Key: c.Key("head")}, {Key: c.Key("hold")}, {Key: c.Key("lock")}, {Key: c.Key("stored")},
		{Key: c.Key(record.RolloutKey)},
	}
	found, revision, err := c.reader.Read(ctx, 0, keys)
	if err != nil {
		return nil, 0, 0, c.headError(err)
	}
	state = new(record.State)
	if kv := found[0]; len(kv) > 0 {
		n, _ := strconv.ParseUint(string(kv[0].Value), 10, 64) // an unreadable hint is no hint
		if hint = record.ID(n); hint > record.MaxID {
			state.Beyond, hint = hint, 0
		}
	}
	if kv := found[1]; len(kv) > 0 {
		state.Hold, state.HoldAt = record.ParseHold(kv[0].Value), kv[0].Revision
	}
	if kv := found[2]; len(kv) > 0 {
		state.Lock = record.ParseHolder(kv[0].Value)
	}
	if kv := found[3]; len(kv) > 0 {
		state.Stored, state.StoredAt = record.ParseStored(kv[0].Value), kv[0].Revision
	}
	if kv := found[4]; len(kv) > 0 {
		state.Rollout, state.RolloutAt = record.ParseRollout(kv[0].Value), kv[0].Revision
	}
	return state, hint, revision, nil
}

func (c *Chain) headError(err error) error { return fmt.Errorf("read head of %s: %w", c.ns, err) }

// headAt finds the head at a revision; hint may be its id.
func (c *Chain) headAt(ctx context.Context, revision int64, hint record.ID) (*record.Deploy, error) {
	for low := hint; ; {
		head, next, err := c.top(ctx, revision, low)
		switch {
		case err != nil:
			return nil, err
		case next:
			if low, err = c.gallop(ctx, revision, low+1); err != nil {
				return nil, err
			}
		case head == nil && low > 0: // a hint beyond the chain
			low = 0
		default:
			return head, nil
		}
	}
}

// top reads deploy id (nil if it is not there; there is no deploy 0) and tells whether the next one exists.
func (c *Chain) top(ctx context.Context, revision int64, id record.ID) (d *record.Deploy, next bool, err error) {
	queries := c.askDeploy(nil, id)
	queries = c.askWhether(queries, id+1)
	if id > 1 {
		queries = c.askDeploy(queries, id-1)
	}
	found, _, err := c.reader.Read(ctx, revision, queries)
	if err != nil {
		return nil, false, c.headError(err)
	}
	switch {
	case id < record.MaxID && isThere(found[record.NumKeys:]):
		return nil, true, nil
	case id == 0:
		return nil, false, nil
	}
	d, err = c.linkTop(ctx, id, found, found[2*record.NumKeys:])
	return d, false, err
}

// askWhether appends the queries for whether a deploy exists; isThere reads the answers. Any of its keys will do: a
// deploy whose record was deleted is a damaged one, and the next one comes after it.
func (c *Chain) askWhether(queries []Query, id record.ID) []Query {
	for which := range record.KeyNames {
		queries = append(queries, Query{Key: c.DeployKey(id, which), NoValue: true})
	}
	return queries
}

func isThere(found [][]KeyValue) bool {
	return slices.ContainsFunc(found[:record.NumKeys], func(kv []KeyValue) bool { return len(kv) > 0 })
}

// linkTop makes a deploy of what was found, with what was found of the one below.
func (c *Chain) linkTop(ctx context.Context, id record.ID, found, below [][]KeyValue) (*record.Deploy, error) {
	d := c.parseDeploy(id, found)
	if d == nil {
		return nil, nil
	}
	deploys := []*record.Deploy{d}
	if id > 1 {
		deploys = append(deploys, c.parseDeploy(id-1, below))
	}
	w := &walk{chain: c}
	w.add(deploys, id)
	return w.linked(ctx)
}

// maxProbes is how many ids are asked for together.
const maxProbes = MaxQueries / record.NumKeys

// gallop finds the highest id, knowing that low exists: low+1, low+2, low+4 … until all are missing, then halves.
func (c *Chain) gallop(ctx context.Context, revision int64, low record.ID) (record.ID, error) {
	var ids []record.ID
	for step := record.ID(1); len(ids) < maxProbes-1 && low+step <= record.MaxID; step *= 2 {
		ids = append(ids, low+step)
	}
	there, err := c.probe(ctx, revision, ids)
	if err != nil {
		return 0, err
	}
	high := low + 1                           // missing, in the end, if ids is empty or all of them are there
	for i, id := range slices.Backward(ids) { // a missing one may be a gap
		if there[i] {
			low = id
			break
		}
		high = id
	}
	for low+1 < high {
		middle := low + (high-low)/2
		there, err := c.probe(ctx, revision, []record.ID{middle})
		if err != nil {
			return 0, err
		}
		if there[0] {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// probe tells which deploys exist at a revision.
func (c *Chain) probe(ctx context.Context, revision int64, ids []record.ID) ([]bool, error) {
	var queries []Query
	for _, id := range ids {
		queries = c.askWhether(queries, id)
	}
	found, _, err := c.reader.Read(ctx, revision, queries)
	if err != nil {
		return nil, c.headError(err)
	}
	there := make([]bool, len(ids))
	for i := range ids {
		there[i] = isThere(found[i*record.NumKeys:])
	}
	return there, nil
}
