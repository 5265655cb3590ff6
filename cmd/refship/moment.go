package main

import (
	"strings"
	"time"
)

// moment is a time on the command line: RFC 3339, a local one, a local day, or a span before now.
type moment struct {
	at    time.Time
	ago   time.Duration
	isDay bool
	isSet bool
}

const (
	localMinute = "2006-01-02 15:04"
	localSecond = "2006-01-02 15:04:05"
)

func (m *moment) UnmarshalText(text []byte) error {
	s := string(text)
	*m = moment{isSet: true}
	for _, layout := range []string{time.RFC3339, localMinute, localSecond, time.DateOnly} {
		at, err := time.ParseInLocation(layout, s, time.Local)
		if err == nil {
			m.at, m.isDay = at, layout == time.DateOnly
			return nil
		}
	}
	var ago span
	if ago.UnmarshalText([]byte(strings.TrimSuffix(s, " ago"))) != nil {
		return usagef("%q is no time such as 2026-11-24T14:00:00Z, \"2026-11-24 14:00\", 2026-11-24, "+
			"or 3d or 2h for so long ago", text)
	}
	m.ago = time.Duration(ago)
	return nil
}

// begin is the time; of a day its first moment.
func (m moment) begin(now time.Time) time.Time {
	if m.at.IsZero() {
		return now.Add(-m.ago)
	}
	return m.at
}

// end is the time; of a day its last moment.
func (m moment) end(now time.Time) time.Time {
	if m.isDay {
		return m.at.AddDate(0, 0, 1).Add(-time.Nanosecond)
	}
	return m.begin(now)
}

// dateFlag says how times are written.
type dateFlag struct {
	Date string `enum:"relative,iso,local" default:"relative" placeholder:"STYLE" help:"How times are written: relative, iso (UTC), or local."`
}

// words writes times; nil where their age is written.
func (f *dateFlag) words() func(time.Time) string {
	switch f.Date {
	case "iso":
		return func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	case "local":
		return func(at time.Time) string { return at.Local().Format(localSecond) }
	}
	return nil
}
