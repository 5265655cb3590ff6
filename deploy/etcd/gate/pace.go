package gate

import (
	"context"
	"sync"
	"time"
)

const (
	perRequest  = time.Second / 500
	burstOfPace = 1000 // requests that need not wait
)

// pace slows a client down that sends too many requests.
type pace struct {
	mu   sync.Mutex
	next time.Time // when the next request would be due, were there no burst
}

// take counts a request and tells how long it has to wait.
func (p *pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if full := now.Add(-burstOfPace * perRequest); p.next.Before(full) {
		p.next = full
	}
	p.next = p.next.Add(perRequest)
	return p.next.Sub(now)
}

// wait counts a request and waits for its turn.
func (p *pace) wait(ctx context.Context) error {
	pause := p.take(time.Now())
	if pause <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
