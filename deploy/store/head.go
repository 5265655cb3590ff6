package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"refship/deploy/record"
)

// Head reads the deploy with the highest id; nil if there is none yet. It costs two requests while the hint at
// NS/refship/head is right, and a few more, by doubling steps, when another writer is ahead of it.
func (c *Chain) Head(ctx context.Context) (*record.Deploy, error) {
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	return state.Head, nil
}

// maxCompacted is how often a revision may be compacted between two requests: etcd compacts a few times an hour.
const maxCompacted = 10

// State reads head, hold and lock as of one revision.
func (c *Chain) State(ctx context.Context) (*record.State, error) {
	for try := 1; ; try++ {
		state, hint, revision, err := c.marks(ctx)
		if err != nil {
			return nil, err
		}
		state.Head, err = c.headAt(ctx, revision, hint)
		switch {
		case err == nil:
			return state, nil
		case !errors.Is(err, ErrCompacted) || try == maxCompacted:
			return nil, err
		} // the revision that the first answer named is compacted already: ask again
	}
}

// marks reads hold and lock, and a hint at the head's id (0: no idea), and tells the revision.
func (c *Chain) marks(ctx context.Context) (state *record.State, hint record.ID, revision int64, err error) {
	keys := []Query{{Key: c.Key("head")}, {Key: c.Key("hold")}, {Key: c.Key("lock")}}
	found, revision, err := c.reader.Read(ctx, 0, keys)
	if err != nil {
		return nil, 0, 0, c.headError(err)
	}
	state = new(record.State)
	if kv := found[0]; len(kv) > 0 {
		n, _ := strconv.ParseUint(string(kv[0].Value), 10, 64) // an unreadable hint is no hint
		hint = record.ID(n)
	}
	if kv := found[1]; len(kv) > 0 {
		state.Hold = record.ParseHold(kv[0].Value)
	}
	if kv := found[2]; len(kv) > 0 {
		state.Lock = record.ParseHolder(kv[0].Value)
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
	for which := range record.KeyNames {
		queries = append(queries, Query{Key: c.DeployKey(id+1, which), NoValue: true})
	}
	found, _, err := c.reader.Read(ctx, revision, queries)
	if err != nil {
		return nil, false, c.headError(err)
	}
	above := found[record.NumKeys:]
	if len(above[record.KeyRecord])+len(above[record.KeyPayload]) > 0 {
		return nil, true, nil
	}
	if id > 0 {
		if d, err = c.parseDeploy(id, found); d == nil || err != nil {
			return nil, false, err
		}
	}
	for which, kv := range above {
		if len(kv) > 0 {
			return nil, false, record.Corrupt(c.DeployKey(id+1, which), "it is there without the deploy's record")
		}
	}
	return d, false, nil
}

// maxProbes is how many ids are asked for together: two keys each.
const maxProbes = MaxQueries / 2

// gallop finds the highest id, knowing that low exists: low+1, low+2, low+4 … until one is missing, then halves.
func (c *Chain) gallop(ctx context.Context, revision int64, low record.ID) (record.ID, error) {
	var ids []record.ID
	for step := record.ID(1); len(ids) < maxProbes-1 && low+step > low; step *= 2 {
		ids = append(ids, low+step)
	}
	there, err := c.probe(ctx, revision, ids)
	if err != nil {
		return 0, err
	}
	high := low + 1 // missing, in the end
	for i, id := range ids {
		if !there[i] {
			high = id
			break
		}
		low = id
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
	queries := make([]Query, 0, 2*len(ids))
	for _, id := range ids {
		for _, which := range []int{record.KeyRecord, record.KeyPayload} {
			queries = append(queries, Query{Key: c.DeployKey(id, which), NoValue: true})
		}
	}
	found, _, err := c.reader.Read(ctx, revision, queries)
	if err != nil {
		return nil, c.headError(err)
	}
	there := make([]bool, len(ids))
	for i := range ids {
		there[i] = len(found[2*i])+len(found[2*i+1]) > 0
	}
	return there, nil
}
