package record

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// PinPrefix is where pins are, below NS/refship/.
const PinPrefix = "keep/"

// Pin is the value of NS/refship/keep/<id>: who wants gc to keep the deploy, and since when (JSON).
type Pin struct {
	User  string    `json:"user"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// PinKey is the key of a deploy's pin, below NS/refship/.
func PinKey(id ID) string { return PinPrefix + id.String() }

// PinnedID reads the id out of a pin's key; false if it is no pin's.
func PinnedID(key string) (ID, bool) {
	id, err := ParseID(strings.TrimPrefix(key, PinPrefix))
	return id, err == nil && strings.HasPrefix(key, PinPrefix)
}

// Encode gives the pin's value.
func (p *Pin) Encode() []byte { return mustEncode(p) }

// ExpiredKey is the key, below NS/refship/, of the highest id whose content gc may have taken.
const ExpiredKey = "expired"

// ParseExpired reads its value; 0 if it is no id.
func ParseExpired(value []byte) ID {
	n, _ := strconv.ParseUint(string(value), 10, 64)
	return ID(n)
}

// RunsKey is the key, below NS/refship/, of gc's last runs.
const RunsKey = "gc"

// Runs is the value of NS/refship/gc: revisions of etcd and when they were read, so that a key's mod revision tells how
// old it is at least (JSON). The newest is the last.
type Runs []Run

// Run is one run of gc.
type Run struct {
	Revision int64     `json:"revision"`
	Time     time.Time `json:"time"`
}

// ParseRuns reads Runs, which are in a key of a mod revision. None are given if the value is none, or names revisions
// that the etcd did not have when it was written: it comes from another etcd.
func ParseRuns(value []byte, modRevision int64) Runs {
	var runs Runs
	if json.Unmarshal(value, &runs) != nil {
		return nil
	}
	for _, r := range runs {
		if r.Revision > modRevision {
			return nil
		}
	}
	return runs
}

// Encode gives the value that ParseRuns reads.
func (r Runs) Encode() []byte { return mustEncode(r) }

const (
	runsApart    = time.Hour      // those of the last day
	oldRunsApart = 23 * time.Hour // older ones: gc runs once a day, more or less
	maxRuns      = 500
)

// Add adds a run. One that comes less than an hour after the last is left out; of those that are older than a day about
// one a day is kept.
func (r Runs) Add(run Run) Runs {
	if len(r) > 0 && run.Time.Sub(r[len(r)-1].Time) < runsApart {
		return r
	}
	var kept Runs
	for _, old := range r {
		isOld := run.Time.Sub(old.Time) > 24*time.Hour
		if isOld && len(kept) > 0 && old.Time.Sub(kept[len(kept)-1].Time) < oldRunsApart {
			continue
		}
		kept = append(kept, old)
	}
	kept = append(kept, run)
	return kept[max(0, len(kept)-maxRuns):]
}

// Before is the newest revision that was read at a time or before it; 0 if none is known.
func (r Runs) Before(at time.Time) int64 {
	revision := int64(0)
	for _, run := range r {
		if !run.Time.After(at) {
			revision = max(revision, run.Revision)
		}
	}
	return revision
}

// By is a time at which what has a mod revision was there already; now if no earlier one is known.
func (r Runs) By(revision int64, now time.Time) time.Time {
	for _, run := range r {
		if run.Revision >= revision && run.Time.Before(now) {
			return run.Time
		}
	}
	return now
}
