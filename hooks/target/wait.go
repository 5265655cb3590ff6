package target

import (
	"time"

	"refship/deploy/fault"
	"refship/deploy/text"
)

const (
	defaultWait = 2 * time.Minute
	maxWait     = time.Hour
)

// ParseWait reads for how long to wait for nodes, such as "90s" or "5m"; "" is 2 minutes.
func ParseWait(s string) (time.Duration, error) {
	if s == "" {
		return defaultWait, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > maxWait {
		return 0, fault.Refuse("give a time such as 90s or 5m, at most "+maxWait.String(), "%q is no time to wait",
			text.Clip(s))
	}
	return d, nil
}

func checkWait(d time.Duration) error {
	if d < 0 || d > maxWait {
		return fault.Refuse("give at most "+maxWait.String(), "it cannot wait for %s", d)
	}
	return nil
}
