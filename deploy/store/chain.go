package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

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

// Get reads one deploy; ErrNotFound if the chain has none of that id, fault.Corrupt if it is damaged, or missing below
// the head.
func (c *Chain) Get(ctx context.Context, id record.ID) (*record.Deploy, error) {
	w, err := c.walk(ctx, id)
	if err != nil {
		return nil, err
	}
	d, err := w.linked(ctx)
	switch {
	case err != nil:
		return nil, err
	case d == nil || d.IsMissing():
		return nil, c.notFound(ctx, id)
	}
	return d, d.Damage
}

// notFound says of an id without a deploy whether there should be one.
func (c *Chain) notFound(ctx context.Context, id record.ID) error {
	state, err := c.State(ctx)
	switch {
	case err != nil:
		return err
	case id > 0 && state.Head != nil && id < state.Head.ID:
		return c.missing(id).Damage
	}
	return fmt.Errorf("read deploy %d of %s: %w", id, c.ns, ErrNotFound)
}

// Log calls fn for each deploy from the newest down, for at most limit of them (0: all). Damaged ones are among them,
// and missing ones count as that; more than maxMissing of them in a row end it with fault.Corrupt.
func (c *Chain) Log(ctx context.Context, limit int, fn func(*record.Deploy) error) error {
	state, err := c.State(ctx)
	if err != nil || state.Head == nil {
		return err
	}
	return c.down(ctx, state.Head.ID, limit, fn)
}

// Down is Log from a deploy down, which need not be the head.
func (c *Chain) Down(ctx context.Context, id record.ID, fn func(*record.Deploy) error) error {
	if id == 0 {
		return nil
	}
	return c.down(ctx, id, 0, fn)
}

// NewestRecord gives the newest sound deploy with a record at or below d, nil if there is none: foreign deploys have
// none. damaged is the newest deploy above it that is damaged, nil if there is none.
func (c *Chain) NewestRecord(ctx context.Context, d *record.Deploy) (newest, damaged *record.Deploy, err error) {
	if d == nil || d.Record != nil {
		return d, nil, nil
	}
	w, err := c.walk(ctx, d.ID)
	if err != nil {
		return nil, nil, err
	}
	for {
		at, err := w.linked(ctx)
		switch {
		case err != nil:
			return nil, nil, err
		case at == nil || at.Record != nil:
			return at, damaged, nil
		case at.Damage != nil && damaged == nil:
			damaged = at
		}
	}
}

// deploysPerRead is how many deploys are read together.
const deploysPerRead = MaxQueries / record.NumKeys

// deploys reads deploys by themselves; nil for one that is not there.
func (c *Chain) deploys(ctx context.Context, ids []record.ID) ([]*record.Deploy, error) {
	deploys := make([]*record.Deploy, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for start := 0; start < len(ids); start += deploysPerRead {
		end := min(start+deploysPerRead, len(ids))
		group.Go(func() error { return c.someDeploys(ctx, ids[start:end], deploys[start:end]) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read deploys of %s: %w", c.ns, err)
	}
	return deploys, nil
}

// someDeploys is deploys of some that are read together.
func (c *Chain) someDeploys(ctx context.Context, ids []record.ID, deploys []*record.Deploy) error {
	var queries []Query
	for _, id := range ids {
		queries = c.askDeploy(queries, id)
	}
	found, _, err := c.reader.Read(ctx, 0, queries)
	for i := 0; err == nil && i < len(ids); i++ {
		deploys[i] = c.parseDeploy(ids[i], found[i*record.NumKeys:])
	}
	return err
}

// askDeploy appends the queries for one deploy; parseDeploy reads the answers.
func (c *Chain) askDeploy(queries []Query, id record.ID) []Query {
	for which := range record.KeyNames {
		// The payload may be large, and only its revision is of use.
		queries = append(queries, Query{Key: c.DeployKey(id, which), NoValue: which == record.KeyPayload})
	}
	return queries
}

// parseDeploy makes a deploy of the answers to askDeploy; nil if there is none. It has Damage if its keys contradict
// each other, or a later refship has written its record; those above and below are not looked at.
func (c *Chain) parseDeploy(id record.ID, found [][]KeyValue) *record.Deploy {
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
	case d.IsMissing():
		return nil
	case d.Revisions[record.KeyRecord] != 0:
		d.Damage = d.Decode(c.ns, time.Now(), func(which int) string { return c.DeployKey(id, which) })
	case d.Revisions[record.KeySignature] != 0:
		d.Damage = record.Corrupt(c.DeployKey(id, record.KeyRecord), "the record is missing, its signature is there")
	case d.Revisions[record.KeyPayload] == 0:
		d.Damage = record.Corrupt(c.DeployKey(id, record.KeyRecord), "the record is missing, its hash is there")
	}
	if d.Record == nil {
		dropBadHash(d)
	}
	return d
}

// missing stands for a deploy of which there is no key, though there is a later one.
func (c *Chain) missing(id record.ID) *record.Deploy {
	what := fmt.Sprintf("deploy %d is missing, a later one is there", id)
	return &record.Deploy{ID: id, Damage: record.Corrupt(c.DeployKey(id, record.KeyRecord), what)}
}

// dropBadHash takes a hash away that cannot be compared: another writer may put any.
func dropBadHash(d *record.Deploy) {
	if _, err := record.ParseHash(string(d.Hash)); err != nil {
		d.Hash = ""
	}
}
