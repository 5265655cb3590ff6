package store

import (
	"context"
	"fmt"
)

// Values reads keys as they are now, at most MaxQueries of them, without looking at what they hold. One that is not
// there has the revision 0.
func (c *Chain) Values(ctx context.Context, keys ...string) ([]KeyValue, error) {
	found, err := c.readKeys(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", c.ns, err)
	}
	values := make([]KeyValue, len(keys))
	for i, key := range keys {
		if values[i].Key = key; len(found[i]) > 0 {
			values[i] = found[i][0]
		}
	}
	return values, nil
}
