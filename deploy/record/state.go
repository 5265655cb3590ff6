package record

import (
	"encoding/json"
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
	Head *Deploy // nil: no deploy yet
	Hold *Hold   // nil: not held
	Lock *Holder // nil: no deploy is under way
}
