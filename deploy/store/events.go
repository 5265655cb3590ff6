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
	found, _, err := c.reader.Read(ctx, 0, []Query{
		{Key: c.Key(record.EventPrefix), Last: record.MaxEvents}, {Key: c.Key(record.ImportedKey)},
	})
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", c.ns, err)
	}
	imported := new(record.Imported)
	if len(found[1]) > 0 {
		imported = record.ParseImported(found[1][0].Value)
	}
	var all []*record.Event
	for _, kv := range found[0] {
		name := strings.TrimPrefix(kv.Key, c.Key(""))
		event := record.ParseEvent(name, kv.Value)
		if strings.TrimPrefix(name, record.EventPrefix) > imported.Event { // the revision of others is that of the import
			event.Revision = kv.Revision
		}
		all = append(all, event)
	}
	// Clocks of two servers differ. The keys of a bundle have no revisions, and come in the order of their times.
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
