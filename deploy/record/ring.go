package record

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Rings say how a deploy reaches nodes: ring by ring. The zero value is all at once.
type Rings struct {
	Names     RingNames     `json:"names"`      // "" is no rings
	Pause     time.Duration `json:"pause"`      // for how long a ring runs a deploy before the next one may
	OnFailure OnFailure     `json:"on_failure"` // "" is Stop
}

// RingNames are the names of rings, in their order, with commas between them: "canary,rest".
type RingNames string

// OnFailure says what becomes of a deploy that a node could not prepare, or whose hook failed.
type OnFailure string

// What becomes of it.
const (
	Stop       OnFailure = "stop"     // no further ring gets it before a person has promoted it
	RollItBack OnFailure = "rollback" // the newest deploy that the ring ran whole is published again
)

const (
	maxRings     = 16
	maxRingPause = 30 * 24 * time.Hour
)

// List gives the names.
func (n RingNames) List() []string {
	if n == "" {
		return nil
	}
	return strings.Split(string(n), ",")
}

var ringName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// CheckRing says why a ring cannot have that name.
func CheckRing(name string) error {
	if ringName.MatchString(name) {
		return nil
	}
	return fault.Refuse("a ring's name is 1 to 32 of a-z, 0-9 and '-', first a letter or digit",
		"ring name %q is not usable", text.Clip(name))
}

// ParseRingPause reads a pause, such as "10m".
func ParseRingPause(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxRingPause {
		return 0, fault.Refuse("give a time such as 90s or 10m, at most "+maxRingPause.String(), "%q is no pause",
			text.Clip(s))
	}
	return d, nil
}

// Validate says what of the rings is not usable.
func (r Rings) Validate() error {
	names := r.Names.List()
	if err := checkRings(names); err != nil {
		return err
	}
	switch {
	case len(names) == 1:
		return fault.Refuse("name the last one, too, such as "+string(r.Names)+",rest: nodes without a ring come with it",
			"rings has only %s, which would be all nodes at once", text.Clip(string(r.Names)))
	case r.OnFailure != "" && r.OnFailure != Stop && r.OnFailure != RollItBack:
		return fault.Refuse("give "+string(Stop)+", "+string(RollItBack)+", or nothing for "+string(Stop),
			"on-failure is %q", text.Clip(string(r.OnFailure)))
	case r.Pause < 0 || r.Pause > maxRingPause:
		return fault.Refuse("give at most "+maxRingPause.String(), "rings cannot pause for %s", r.Pause)
	case len(names) == 0 && r != (Rings{}):
		return fault.Refuse("set rings, too, such as canary,rest; or take ring-pause and on-failure away",
			"ring-pause or on-failure is set, and there are no rings")
	}
	return nil
}

// checkRings says what of a list of rings is not usable.
func checkRings(names []string) error {
	if len(names) > maxRings {
		return fault.Refuse("give fewer", "there are %d rings, and %d are the most", len(names), maxRings)
	}
	for i, name := range names {
		if err := CheckRing(name); err != nil {
			return err
		}
		if slices.Contains(names[:i], name) {
			return fault.Refuse("name each ring once", "the ring %s is there twice", name)
		}
	}
	return nil
}
