package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"refship/deploy/text"
)

// Hold is the value of NS/refship/hold: who keeps the chain from going on, and why (JSON).
type Hold struct {
	User   string    `json:"user"`
	Host   string    `json:"host"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// HoldOfImport is why a chain is on hold that is being imported.
const HoldOfImport = "an import of a bundle is under way, or was cut off: import it again"

// IsImport tells whether the hold is that of an import, which takes it away at its end: what is there before is not yet
// the chain.
func (h *Hold) IsImport() bool { return h.Reason == HoldOfImport }

// ParseHold reads a hold. Any value holds the chain; if it is not JSON, it is the reason.
func ParseHold(value []byte) *Hold {
	h := new(Hold)
	if err := json.Unmarshal(value, h); err != nil || *h == (Hold{}) {
		return &Hold{Reason: text.Printable(Shorten(string(value)))}
	}
	return h
}

// String says who holds the chain, since when and why, for a sentence: "by ops (on host) since 2026-01-02T03:04:05Z,
// 12 minutes ago: login is broken". What is not known is left out.
func (h *Hold) String() string {
	words := ""
	if h.User != "" {
		words = " by " + text.Printable(Shorten(h.User))
	}
	if h.Host != "" {
		words += " (on " + text.Printable(Shorten(h.Host)) + ")"
	}
	if !h.Since.IsZero() {
		words += " since " + h.Since.UTC().Format(time.RFC3339) + ", " + text.Age(time.Since(h.Since))
	}
	if h.Reason != "" {
		words += ": " + text.Printable(Shorten(h.Reason))
	}
	return words
}

// Holder is the value of NS/refship/lock: who has the chain's lock (JSON).
type Holder struct {
	User       string    `json:"user"`
	Repository string    `json:"repository"`
	Ref        string    `json:"ref"`
	Host       string    `json:"host"`
	Server     string    `json:"server"`  // fingerprint of the server's signing key
	Process    string    `json:"process"` // names the process to others on its machine; "" if it has no name
	Since      time.Time `json:"since"`
}

// String says who, with what and since when, for a sentence: "bob (refs/heads/main of config, on host) since
// 2026-01-02T03:04:05Z". What is not known is left out.
func (h Holder) String() string {
	words := "an unknown user"
	if h.User != "" {
		words = text.Printable(h.User)
	}
	what := text.Printable(h.Repository)
	if h.Ref != "" && what != "" {
		what = " of " + what
	}
	parts := []string{text.Printable(h.Ref) + what}
	if h.Host != "" {
		parts = append(parts, "on "+text.Printable(h.Host))
	}
	if parts[0] == "" {
		parts = parts[1:]
	}
	if len(parts) > 0 {
		words += " (" + strings.Join(parts, ", ") + ")"
	}
	if !h.Since.IsZero() {
		words += " since " + h.Since.UTC().Format(time.RFC3339)
	}
	return words
}

// ParseHolder reads a lock. Any value locks the chain; if it is not JSON, it is the user.
func ParseHolder(value []byte) *Holder {
	h := new(Holder)
	if err := json.Unmarshal(value, h); err != nil || *h == (Holder{}) {
		return &Holder{User: Shorten(string(value))}
	}
	return h
}

// State is what a chain's keys say at one revision.
type State struct {
	Revision int64 // etcd's; 0 of another Reader

	Head   *Deploy // nil: no deploy yet
	Hold   *Hold   // nil: not held
	HoldAt int64   // mod revision of the hold; 0: not held
	Lock   *Holder // nil: no deploy is under way
	Beyond ID      // what NS/refship/head names, if that is above MaxID: it is ignored
	// Rollout says which nodes may run the head; nil: all may. RolloutAt is the mod revision of its key; 0: there is none.
	Rollout   *Rollout
	RolloutAt int64
	Stored    *Stored // nil: what the namespace holds was not counted, or not up to the head
	StoredAt  int64   // its mod revision; 0: there is none
}

// aheadWarned is how far a record's time must be ahead to be told: the clocks of servers differ a little.
const aheadWarned = time.Minute

// Warnings say what is odd about a chain though it goes on. newest is its newest record, or nil.
func (s *State) Warnings(ns Namespace, newest *Record, now time.Time) (all []string) {
	if s.Beyond != 0 {
		all = append(all, fmt.Sprintf("%s/refship/head names deploy %d, an id that no deploy can have: it is ignored. "+
			"Delete it: etcdctl del --prefix %s/deploy/%d/", ns, s.Beyond, ns, s.Beyond))
	}
	if newest == nil {
		return all
	}
	if ahead := newest.Time.Sub(now); ahead >= aheadWarned {
		all = append(all, fmt.Sprintf("the time of deploy %d of %s, %s, is %s ahead of this machine's clock: "+
			"later deploys get that time until then", newest.ID, ns, newest.Time.UTC().Format(time.RFC3339),
			strings.TrimPrefix(text.Age(-ahead), "in ")))
	}
	return all
}
