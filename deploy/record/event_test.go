package record_test

import (
	"testing"
	"time"

	"refship/deploy/record"
)

// What one txn has put belongs together, whatever the clocks say: the record of a rollback has the time of the record
// below if that is ahead.
func TestEventFollows(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := &record.Deploy{Record: &record.Record{Time: now}}
	foreign := new(record.Deploy)
	for which := range record.NumKeys {
		d.Revisions[which], foreign.Revisions[which] = 7, 7
	}
	d.Revisions[record.KeySignature] = 0
	d.Revisions[record.KeyHash] = 9 // somebody has put it again
	for _, c := range []struct {
		d        *record.Deploy
		revision int64
		ago      time.Duration
		want     bool
	}{
		{d, 7, time.Minute, true},
		{d, 6, -time.Minute, false},
		{d, 8, time.Minute, true},
		{foreign, 8, 0, true},
		{foreign, 6, 0, false},
		{d, 0, time.Minute, false}, // an event whose revision is not known
		{d, 0, 0, true},
		{foreign, 0, 0, false},
		{new(record.Deploy), 7, 0, false}, // a deploy that is missing
	} {
		e := &record.Event{Kind: record.EventHold, Time: now.Add(-c.ago), Revision: c.revision}
		if got := e.Follows(c.d); got != c.want {
			t.Errorf("revision %d, %s ago, follows %+v: %t", c.revision, c.ago, c.d, got)
		}
	}
}
