package store

import (
	"context"
	"fmt"
)

// Snapshot gives the chain as it is now: all that is read of it is as of one revision. What is read after etcd has
// compacted that gives ErrCompacted.
func (c *Chain) Snapshot(ctx context.Context) (*Chain, error) {
	_, at, err := c.reader.Read(ctx, 0, []Query{{Key: c.Key("head"), NoValue: true}})
	if err != nil {
		return nil, fmt.Errorf("read the revision of %s: %w", c.ns, err)
	}
	return New(snapshot{c.reader, at}, c.ns), nil
}

// snapshot reads as of one revision.
type snapshot struct {
	reader Reader
	at     int64
}

func (s snapshot) Read(ctx context.Context, revision int64, queries []Query) ([][]KeyValue, int64, error) {
	if revision == 0 {
		revision = s.at
	}
	return s.reader.Read(ctx, revision, queries)
}
