package record

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// EventKind is what happened to a chain beside its deploys.
type EventKind string

// The kinds of events.
const (
	EventHold   EventKind = "hold"
	EventResume EventKind = "resume"
	// EventPromote is about a ring that somebody has released.
	EventPromote EventKind = "promote"
)

const (
	// EventPrefix is where events are, below NS/refship/.
	EventPrefix = "events/"
	// MaxEvents is how many of a namespace's events are kept.
	MaxEvents = 1000
)

// Event is the value of NS/refship/events/<time>: who held or resumed the chain, and why, or released which ring of a
// rollout (JSON).
type Event struct {
	Kind   EventKind `json:"kind"`
	User   string    `json:"user"`
	Host   string    `json:"host"`
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`

	Revision int64 `json:"-"` // of its key; 0: not known
}

// Follows tells whether the event came after a deploy, or with it: a hold that a rollback has made. Revisions tell, or
// else the times; of a deploy without either nothing is known.
func (e *Event) Follows(d *Deploy) bool {
	first := int64(0) // of its keys: one that was changed later does not count
	for _, revision := range d.Revisions {
		if revision != 0 && (first == 0 || revision < first) {
			first = revision
		}
	}
	if first != 0 && e.Revision != 0 {
		return e.Revision >= first
	}
	return d.Record != nil && !e.Time.Before(d.Record.Time)
}

// EventKey is the key of an event of a time, below NS/refship/: nanoseconds since 1970 in 19 digits, so that events
// are sorted by time.
func EventKey(at time.Time) string { return fmt.Sprintf("%s%019d", EventPrefix, at.UnixNano()) }

// Encode gives the event's value.
func (e *Event) Encode() []byte { return mustEncode(e) }

// Encode gives the hold's value.
func (h *Hold) Encode() []byte { return mustEncode(h) }

// mustEncode encodes a struct of strings and times, which never fails.
func mustEncode(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encoded
}

// ParseEvent reads an event. Its time is that of its key, by which events are sorted. If the value is no event, it is
// the reason.
func ParseEvent(key string, value []byte) *Event {
	e := new(Event)
	if err := json.Unmarshal(value, e); err != nil || e.Kind == "" {
		e = &Event{Kind: "unknown", Reason: Shorten(string(value))}
	}
	nanoseconds, _ := strconv.ParseInt(strings.TrimPrefix(key, EventPrefix), 10, 64) // an odd key is an old one
	e.Time = time.Unix(0, nanoseconds).UTC()
	return e
}
