package store

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/record"
)

// Events gives what happened to the chain beside its deploys, newest first: the last 1,000 are kept.
func (c *Chain) Events(ctx context.Context) ([]*record.Event, error) {
	found, _, err := c.reader.Read(ctx, 0, []Query{{Key: c.Key(record.EventPrefix), Last: record.MaxEvents}})
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", c.ns, err)
	}
	var all []*record.Event
	for _, kv := range found[0] {
		all = append(all, record.ParseEvent(strings.TrimPrefix(kv.Key, c.Key("")), kv.Value))
	}
	return all, nil
}
