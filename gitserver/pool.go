package gitserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// How many commands that run git there are at a time. Pushes and what only reads have a pool each, so that clones never
// keep a push waiting. One that waits for its client costs about 4 MiB, most of it shared with the others.
const (
	maxPushes  = 128
	maxFetches = 128
)

// When a command that waits for its turn tells its client, and when it tells again.
const (
	waitUntold = time.Second
	waitTold   = 10 * time.Second
)

// pool bounds how many of a kind of commands run.
type pool struct {
	what  string // plural
	size  int64
	turns *semaphore.Weighted // in order
}

func newPool(what string, size int64) *pool {
	return &pool{what: what, size: size, turns: semaphore.NewWeighted(size)}
}

// enter waits for a turn, which release gives back. It gives up when the client leaves or the server is shutting down.
func (x *session) enter(p *pool) (release func(), err error) {
	release = func() { p.turns.Release(1) }
	if p.turns.TryAcquire(1) {
		return release, nil
	}
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	defer context.AfterFunc(x.s.soft, cancel)()
	var telling sync.WaitGroup
	defer telling.Wait()
	told, stop := context.WithCancel(ctx)
	defer stop()
	telling.Go(func() {
		t := time.NewTimer(waitUntold)
		defer t.Stop()
		for {
			select {
			case <-told.Done():
				return
			case <-t.C:
				x.tell(fmt.Sprintf("waiting: the server runs %d %s at a time", p.size, p.what))
				t.Reset(waitTold)
			}
		}
	})
	switch err := p.turns.Acquire(ctx, 1); {
	case err == nil:
		return release, nil
	case x.s.soft.Err() != nil:
		return nil, errShuttingDown
	default:
		return nil, fmt.Errorf("wait for a turn: %w", err)
	}
}
