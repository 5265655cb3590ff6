package scrub

import (
	"context"
	"time"
)

// The rest of a gentle scrub: so many times what the last step took, and between these bounds. It makes at most 500
// requests a second, and a long repair is not followed by a longer rest.
const (
	restFactor = 4
	minRest    = 2 * time.Millisecond
	maxRest    = time.Second
)

// pace makes a scrub leave etcd and the machine to others for most of the time.
type pace struct {
	gentle bool
	since  time.Time // when the last rest ended
}

// rest is called before each step. It ends with ctx.
func (p *pace) rest(ctx context.Context) error {
	if p.gentle && !p.since.IsZero() {
		timer := time.NewTimer(min(max(restFactor*time.Since(p.since), minRest), maxRest))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	p.since = time.Now()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
