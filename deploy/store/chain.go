package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"refship/deploy/record"
)

// ErrNotFound: the chain has no deploy of that id.
var ErrNotFound = errors.New("no such deploy")

// Chain reads the chain of one namespace.
type Chain struct {
	reader Reader
	ns     record.Namespace
}

// New gives the chain of a namespace as a Reader has it.
func New(reader Reader, ns record.Namespace) *Chain { return &Chain{reader: reader, ns: ns} }

// Namespace is the chain's namespace.
func (c *Chain) Namespace() record.Namespace { return c.ns }

// Get reads one deploy; ErrNotFound if the chain has none of that id.
func (c *Chain) Get(ctx context.Context, id record.ID) (*record.Deploy, error) {
	deploys, err := c.deploys(ctx, []record.ID{id})
	if err != nil {
		return nil, err
	}
	if deploys[0] == nil {
		return nil, fmt.Errorf("read deploy %d of %s: %w", id, c.ns, ErrNotFound)
	}
	return deploys[0], nil
}

// Log calls fn for each deploy from the newest down, for at most limit of them (0: all).
func (c *Chain) Log(ctx context.Context, limit int, fn func(*record.Deploy) error) error {
	head, err := c.Head(ctx)
	if err != nil || head == nil {
		return err
	}
	oldest := record.ID(1)
	if limit > 0 && record.ID(limit) < head.ID {
		oldest = head.ID - record.ID(limit) + 1
	}
	for d, err := range c.down(ctx, head.ID, oldest) {
		if err == nil {
			err = fn(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// NewestRecord gives the newest deploy with a record at or below d, nil if there is none: foreign deploys have none.
func (c *Chain) NewestRecord(ctx context.Context, d *record.Deploy) (*record.Deploy, error) {
	if d == nil || d.Record != nil {
		return d, nil
	}
	for below, err := range c.down(ctx, d.ID-1, 1) {
		if err != nil || below.Record != nil {
			return below, err
		}
	}
	return nil, nil
}

// deploysPerRead is how many deploys are read together.
const deploysPerRead = MaxQueries / record.NumKeys

// down gives each deploy from the newest down to the oldest; all of them must exist. An error is the last.
func (c *Chain) down(ctx context.Context, newest, oldest record.ID) iter.Seq2[*record.Deploy, error] {
	return func(yield func(*record.Deploy, error) bool) {
		for next := newest; next >= oldest; {
			var ids []record.ID
			for ; next >= oldest && len(ids) < deploysPerRead; next-- {
				ids = append(ids, next)
			}
			deploys, err := c.deploys(ctx, ids)
			for i, d := range deploys {
				if d == nil {
					key := c.DeployKey(ids[i], record.KeyRecord)
					yield(nil, record.Corrupt(key, "the deploy is missing, a later one is there"))
					return
				}
				if !yield(d, nil) {
					return
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// deploys reads deploys; nil for one that is not there. If one is corrupt, those before it come with the error.
func (c *Chain) deploys(ctx context.Context, ids []record.ID) ([]*record.Deploy, error) {
	var queries []Query
	for _, id := range ids {
		queries = c.askDeploy(queries, id)
	}
	found, _, err := c.reader.Read(ctx, 0, queries)
	if err != nil {
		return nil, fmt.Errorf("read deploys of %s: %w", c.ns, err)
	}
	deploys := make([]*record.Deploy, len(ids))
	for i, id := range ids {
		if deploys[i], err = c.parseDeploy(id, found[i*record.NumKeys:]); err != nil {
			return deploys[:i], err
		}
	}
	return deploys, nil
}

// askDeploy appends the queries for one deploy; parseDeploy reads the answers.
func (c *Chain) askDeploy(queries []Query, id record.ID) []Query {
	for which := range record.KeyNames {
		// The payload may be large, and only its revision is of use.
		queries = append(queries, Query{Key: c.DeployKey(id, which), NoValue: which == record.KeyPayload})
	}
	return queries
}

// parseDeploy makes a deploy of the answers to askDeploy; nil if there is none.
func (c *Chain) parseDeploy(id record.ID, found [][]KeyValue) (*record.Deploy, error) {
	d := &record.Deploy{ID: id}
	for which := range record.KeyNames {
		if len(found[which]) == 0 {
			continue
		}
		kv := found[which][0]
		d.Revisions[which] = kv.Revision
		switch which {
		case record.KeyHash:
			d.Hash = record.Hash(kv.Value)
		case record.KeyRecord:
			d.RecordBytes = kv.Value
		case record.KeySignature:
			d.Signature = kv.Value
		}
	}
	switch {
	case d.Revisions[record.KeyRecord] != 0:
		if err := d.Decode(func(which int) string { return c.DeployKey(id, which) }); err != nil {
			return nil, err
		}
		return d, nil
	case d.Revisions[record.KeySignature] != 0:
		return nil, record.Corrupt(c.DeployKey(id, record.KeyRecord), "the record is missing, its signature is there")
	case d.Revisions[record.KeyPayload] != 0:
		if _, err := record.ParseHash(string(d.Hash)); err != nil {
			d.Hash = "" // another writer's, and none that could be compared
		}
		return d, nil
	case d.Revisions[record.KeyHash] != 0:
		return nil, record.Corrupt(c.DeployKey(id, record.KeyHash), "it is there without the deploy's record")
	}
	return nil, nil
}
