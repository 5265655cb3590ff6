package store

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"refship/deploy/record"
	"refship/deploy/transparency"
)

// The keys of a chain's log, below NS/refship/: see package transparency.
const (
	LogPrefix     = "log/"
	CheckpointKey = "checkpoint"
	// CosignaturePrefix is where cosignatures are, below <size>/<name>: see package witness.
	CosignaturePrefix = "cosignature/"
)

// LogKey is where the hashes are that a deploy's leaf completes.
func (c *Chain) LogKey(id record.ID) string { return c.Key(LogPrefix + id.String()) }

// LogValues reads values of the log; nil for one that is not there.
func (c *Chain) LogValues(ctx context.Context, ids []record.ID) ([][]byte, error) {
	values := make([][]byte, 0, len(ids))
	for some := range slices.Chunk(ids, MaxQueries) {
		keys := make([]string, len(some))
		for i, id := range some {
			keys[i] = c.LogKey(id)
		}
		found, err := c.readKeys(ctx, keys)
		if err != nil {
			return nil, fmt.Errorf("read the log of %s: %w", c.ns, err)
		}
		for _, kvs := range found {
			values = append(values, valueIn(kvs))
		}
	}
	return values, nil
}

// LogReader reads what a proof needs; a value that is not there is a fault.Corrupt.
func (c *Chain) LogReader(ctx context.Context) transparency.Reader {
	return func(ids []record.ID) ([][]byte, error) {
		values, err := c.LogValues(ctx, ids)
		for i := 0; err == nil && i < len(values); i++ {
			if values[i] == nil {
				err = record.Missing(c.LogKey(ids[i]))
			}
		}
		return values, err
	}
}

// Leaves calls fn for each deploy of a range of ids, in their order, with what the log has of it. Those that are not
// there have a leaf, too.
func (c *Chain) Leaves(ctx context.Context, first, last record.ID, fn func(record.ID, []byte) error) error {
	const together = deploysPerRead * readsAtOnce
	for ; first <= last; first += together {
		var ids []record.ID
		for id := first; id <= last && len(ids) < together; id++ {
			ids = append(ids, id)
		}
		deploys, err := c.deploys(ctx, ids)
		if err != nil {
			return err
		}
		for i, d := range deploys {
			if d == nil {
				deploys[i] = &record.Deploy{ID: ids[i]}
			}
		}
		leaves, err := c.LeavesOf(ctx, deploys)
		for i := 0; err == nil && i < len(ids); i++ {
			err = fn(ids[i], leaves[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// LeavesOf gives what the log has of deploys that were read: the record as it is stored; without one what
// transparency.ForeignLeaf makes of payload and hash; without either that it is missing.
func (c *Chain) LeavesOf(ctx context.Context, deploys []*record.Deploy) ([][]byte, error) {
	leaves := make([][]byte, len(deploys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for i, d := range deploys {
		switch {
		case d.Revisions[record.KeyRecord] != 0:
			leaves[i] = d.RecordBytes
		case d.Revisions[record.KeyPayload] != 0:
			group.Go(func() (err error) { // one by one: a payload may be as large as a request
				leaves[i], err = c.foreignLeaf(ctx, d)
				return err
			})
		default:
			leaves[i] = transparency.MissingLeaf(d.ID)
		}
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read deploys of %s: %w", c.ns, err)
	}
	return leaves, nil
}

func (c *Chain) foreignLeaf(ctx context.Context, d *record.Deploy) ([]byte, error) {
	found, err := c.readKeys(ctx, []string{c.DeployKey(d.ID, record.KeyPayload)})
	switch {
	case err != nil:
		return nil, err
	case len(found[0]) == 0: // it was taken away meanwhile
		return transparency.MissingLeaf(d.ID), nil
	}
	return transparency.ForeignLeaf(d.ID, found[0][0].Value, d.Hash), nil
}

// Checkpoint is the head of a chain's log, as etcd has it.
type Checkpoint struct {
	transparency.Checkpoint
	Signed   []byte // the note
	Revision int64  // mod revision of its key; 0: there is none
}

// Checkpoint reads the head of the chain's log, without looking at its signature. A fault.Corrupt says that it is none.
func (c *Chain) Checkpoint(ctx context.Context) (*Checkpoint, error) {
	found, err := c.readKeys(ctx, []string{c.Key(CheckpointKey)})
	if err != nil {
		return nil, fmt.Errorf("read the checkpoint of %s: %w", c.ns, err)
	}
	return c.parseCheckpoint(found[0])
}

// LogEdge reads the checkpoint, and values of the log, at one revision; those that are not there are nil.
func (c *Chain) LogEdge(ctx context.Context, ids []record.ID) (*Checkpoint, map[record.ID][]byte, error) {
	keys := []string{c.Key(CheckpointKey)}
	for _, id := range ids {
		keys = append(keys, c.LogKey(id))
	}
	found, err := c.readKeys(ctx, keys)
	if err != nil {
		return nil, nil, fmt.Errorf("read the log of %s: %w", c.ns, err)
	}
	values := make(map[record.ID][]byte, len(ids))
	for i, id := range ids {
		values[id] = valueIn(found[i+1])
	}
	cp, err := c.parseCheckpoint(found[0])
	return cp, values, err
}

// valueIn is the value of a key that may not be there: nil. An empty one is not nil.
func valueIn(found []KeyValue) []byte {
	if len(found) == 0 {
		return nil
	}
	return append([]byte{}, found[0].Value...)
}

// parseCheckpoint gives what it can say of one that is damaged, too.
func (c *Chain) parseCheckpoint(found []KeyValue) (cp *Checkpoint, err error) {
	cp = new(Checkpoint)
	if len(found) == 0 {
		return cp, nil
	}
	cp.Signed, cp.Revision = found[0].Value, found[0].Revision
	if cp.Checkpoint, err = transparency.ReadCheckpoint(cp.Signed); err != nil {
		return cp, record.Corrupt(c.Key(CheckpointKey), err.Error())
	}
	return cp, nil
}

// Judge says whether a checkpoint was published with the deploy d that it has the size of: it has that one's chain id,
// and is signed by the key that signed its record. Whether that key is allowed is not asked. What it says is a
// fault.Corrupt.
func (cp *Checkpoint) Judge(c *Chain, d *record.Deploy) error {
	bad := func(format string, args ...any) error {
		return record.Corrupt(c.Key(CheckpointKey), fmt.Sprintf(format, args...))
	}
	switch {
	case d == nil || d.ID != cp.Size:
		return bad("it is of %d deploys, and there is no deploy %d", cp.Size, cp.Size)
	case d.Record == nil || d.Record.Signer == "":
		return bad("it is that of deploy %d, which has no signed record", cp.Size)
	case d.Record.Chain != cp.Chain:
		return bad("it is of another chain, %s", cp.Chain)
	}
	key, err := d.Key()
	if err != nil {
		return bad("%v", err)
	}
	verifier, err := transparency.NewVerifier(cp.Origin(), key)
	if err != nil {
		return bad("it cannot be signed by the key that signed deploy %d: %v", cp.Size, err)
	}
	if _, err := transparency.OpenCheckpoint(cp.Signed, verifier); err != nil {
		return bad("the key that signed deploy %d has not signed it: %v", cp.Size, err)
	}
	if !cp.IsExact(cp.Signed) {
		return bad("it is not byte for byte what was signed")
	}
	return nil
}
