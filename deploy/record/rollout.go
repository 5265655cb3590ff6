package record

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"refship/deploy/text"
)

// The keys of a rollout, below NS/refship/.
const (
	RolloutKey      = "rollout"       // which rings may run the head
	RolloutOwnerKey = "rollout-owner" // the server that advances it, on a lease
)

// Rollout is the value of NS/refship/rollout: which nodes may run a deploy (JSON). The txn that publishes a deploy puts
// it, and deletes it where the deploy is for all nodes at once. It says nothing of any other deploy than ID: where the
// head is another one, since its writer knows no rings, all nodes may run that.
//
// A nil Rollout lets all nodes run all.
type Rollout struct {
	ID        ID        `json:"id"`
	Hash      Hash      `json:"hash"`
	Rings     []string  `json:"rings"`      // in their order
	Pause     RingPause `json:"pause"`      // for how long a ring runs it before the next one may
	OnFailure OnFailure `json:"on_failure"` // Stop or RollItBack
	Released  int       `json:"released"`   // so many of the rings may run it, from the first on
	Since     time.Time `json:"since"`      // when the last of these was released
	Whole     time.Time `json:"whole"`      // since when all living nodes of these run it; zero: they do not
	Base      ID        `json:"base"`       // the newest deploy below that was for all: the others run that; 0: none
	// Ran is the newest deploy that all living nodes of a ring ran together.
	Ran map[string]ID `json:"ran"`
	// Stopped says why no further ring gets it by itself; "": nothing keeps them from it.
	Stopped string `json:"stopped"`
	Done    bool   `json:"done"` // all rings have run it for the pause: what fails now is no longer because of it

	Broken bool `json:"-"` // the value cannot be read: nobody knows who may run what
}

// RingPause is a time span as text: "10m0s".
type RingPause time.Duration

// MarshalText writes it.
func (p RingPause) MarshalText() ([]byte, error) { return []byte(time.Duration(p).String()), nil }

// UnmarshalText reads it.
func (p *RingPause) UnmarshalText(value []byte) error {
	d, err := ParseRingPause(string(value))
	*p = RingPause(d)
	return err
}

// ParseRollout reads a rollout. Any writer can have put any value: one that cannot be read is Broken.
func ParseRollout(value []byte) *Rollout {
	r := new(Rollout)
	if json.Unmarshal(value, r) != nil || r.ID == 0 || r.ID > MaxID || len(r.Rings) == 0 || checkRings(r.Rings) != nil ||
		r.Released < 1 || r.Released > len(r.Rings) || r.Base >= r.ID {
		return &Rollout{Broken: true}
	}
	return r
}

// Encode gives the value that ParseRollout reads.
func (r *Rollout) Encode() []byte { return mustEncode(r) }

// Clone gives a copy that may be changed.
func (r *Rollout) Clone() *Rollout {
	other := *r
	other.Rings, other.Ran = slices.Clone(r.Rings), maps.Clone(r.Ran)
	if other.Ran == nil {
		other.Ran = map[string]ID{}
	}
	return &other
}

// IsOf tells whether the rollout is about a deploy.
func (r *Rollout) IsOf(head *Deploy) bool {
	return r != nil && !r.Broken && head != nil && r.ID == head.ID && r.Hash == head.Hash
}

// Allows tells whether nodes of a ring, "" for nodes without one, may run a deploy: the head, or one below it. A ring
// that the rollout does not name goes with the last one.
func (r *Rollout) Allows(ring string, d *Deploy) bool {
	switch {
	case r == nil, d == nil:
		return true
	case r.Broken:
		return false
	case d.ID > r.ID, d.ID == r.ID && d.Hash != r.Hash, d.ID <= r.Base:
		return true
	}
	return r.RingOf(ring) < r.Released
}

// RingOf is which of the rings a node of a ring goes with: the last one, if there is none of that name.
func (r *Rollout) RingOf(ring string) int {
	if i := slices.Index(r.Rings, ring); i >= 0 {
		return i
	}
	return len(r.Rings) - 1
}

// ToAll tells whether all rings may run it.
func (r *Rollout) ToAll() bool { return r.Released == len(r.Rings) }

// Settings are those that the rollout was made with.
func (r *Rollout) Settings() Rings {
	return Rings{
		Names: RingNames(strings.Join(r.Rings, ",")), Pause: time.Duration(r.Pause), OnFailure: r.OnFailure,
	}
}

// Release gives the rollout with one more ring.
func (r *Rollout) Release(now time.Time) *Rollout {
	next := r.Clone()
	next.Released++
	next.Since, next.Whole, next.Stopped = now, time.Time{}, ""
	return next
}

// Follow gives the rollout of the next deploy, with rings; nil if that is for all at once, and nothing of the one
// before has to be remembered. r is the one that was there, or nil, and before the head.
func (r *Rollout) Follow(next *Deploy, rings Rings, before *Deploy) *Rollout {
	known := r != nil && !r.Broken
	names := rings.Names.List()
	isBack := next.Record.Kind == KindRollback
	switch {
	case isBack && !known, !isBack && len(names) == 0:
		return nil
	case isBack:
		names = r.Rings
	}
	now := &Rollout{
		ID: next.ID, Hash: next.Hash, Rings: names, Pause: RingPause(rings.Pause), OnFailure: cmp.Or(rings.OnFailure, Stop),
		Released: 1, Since: next.Record.Time, Ran: map[string]ID{}, Base: r.nextBase(before),
	}
	if isBack {
		now.Pause, now.OnFailure, now.Released, now.Base = r.Pause, r.OnFailure, len(names), 0
	}
	if known {
		for _, name := range names {
			if id := r.Ran[name]; id != 0 {
				now.Ran[name] = id
			}
		}
	}
	return now
}

// NoteHead is the rollout of a head that all nodes run at once, for what it remembers.
func (r *Rollout) NoteHead(head *Deploy, rings Rings, now time.Time) *Rollout {
	if r != nil {
		rings = r.Settings()
	}
	noted := &Rollout{
		ID: head.ID, Hash: head.Hash, Rings: rings.Names.List(), Pause: RingPause(rings.Pause),
		OnFailure: cmp.Or(rings.OnFailure, Stop), Since: now, Ran: map[string]ID{},
	}
	noted.Released = len(noted.Rings)
	if r != nil {
		maps.Copy(noted.Ran, r.Ran)
	}
	return noted
}

// nextBase is what all might run before the deploy that follows the head.
func (r *Rollout) nextBase(head *Deploy) ID {
	switch {
	case head == nil, r != nil && r.Broken:
		return 0
	case r.IsOf(head) && !r.ToAll():
		return r.Base
	}
	return head.ID
}

// Keeps are the deploys whose contents nodes may still need, or a rollback.
func (r *Rollout) Keeps() []ID {
	if r == nil {
		return nil
	}
	var ids []ID
	if r.Base != 0 && !r.ToAll() {
		ids = append(ids, r.Base)
	}
	for _, id := range r.Ran {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// maxStopped bounds what Stopped says, in bytes.
const maxStopped = 500

// Stop gives the rollout with a reason why it stops.
func (r *Rollout) Stop(why string) *Rollout {
	stopped := r.Clone()
	stopped.Stopped = text.Shorten(text.Printable(why), maxStopped)
	return stopped
}
