package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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
		event := record.ParseEvent(strings.TrimPrefix(kv.Key, c.Key("")), kv.Value)
		event.Revision = kv.Revision
		all = append(all, event)
	}
	// Clocks of two servers differ.
	slices.SortStableFunc(all, func(a, b *record.Event) int { return cmp.Compare(b.Revision, a.Revision) })
	return all, nil
}

// Story is Log with the events: it calls deploy and event in the order of what they get, newest first. Events do not
// count for limit.
func (c *Chain) Story(ctx context.Context, limit int, deploy func(*record.Deploy) error,
	event func(*record.Event) error) error {
	events, err := c.Events(ctx)
	if err != nil {
		return err
	}
	tell := func(until *record.Deploy) error {
		for len(events) > 0 && (until == nil || events[0].Follows(until)) {
			if err := event(events[0]); err != nil {
				return err
			}
			events = events[1:]
		}
		return nil
	}
	lowest := record.ID(0)
	err = c.Log(ctx, limit, func(d *record.Deploy) error {
		lowest = d.ID
		if err := tell(d); err != nil {
			return err
		}
		return deploy(d)
	})
	if err != nil || lowest > 1 {
		return err
	}
	return tell(nil) // those from before the first deploy
}
