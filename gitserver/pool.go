package gitserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"
)

// How many commands that run git there are at a time. Pushes and what only reads have a pool each, so that clones never
// keep a push waiting. One that waits for its client costs about 4 MiB, most of it shared with the others. A key has a
// part of each pool: its clients may do nothing for as long as they like, and must not keep everybody else waiting.
const (
	maxPushes  = 128
	maxFetches = 128
	keysPart   = 2 // a key has this part of a pool: a half
)

// When a command that waits for its turn tells its client, and when it tells again.
const (
	waitUntold = time.Second
	waitTold   = 10 * time.Second
)

// pool bounds how many of a kind of commands run.
type pool struct {
	what  string // plural
	turns *turns

	mu   sync.Mutex
	keys map[string]*turns // of the keys that have or want some, by fingerprint
}

// turns are given in order.
type turns struct {
	*semaphore.Weighted
	size int64
	of   string // who has them, for a message
	refs int    // under pool.mu
}

func newPool(what string, size int64) *pool {
	return &pool{what: what, turns: &turns{Weighted: semaphore.NewWeighted(size), size: size, of: "the server"}, keys: map[string]*turns{}}
}

// ofKey gives the turns of a key; done must be called when they are not used any more.
func (p *pool) ofKey(fingerprint string) (own *turns, done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	own = p.keys[fingerprint]
	if own == nil {
		size := max(1, p.turns.size/keysPart)
		own = &turns{Weighted: semaphore.NewWeighted(size), size: size, of: "a key"}
		p.keys[fingerprint] = own
	}
	own.refs++
	return own, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if own.refs--; own.refs == 0 {
			delete(p.keys, fingerprint)
		}
	}
}

// enter waits for a turn of the session's key, then for one of all, which release gives back. It gives up when the client
// leaves or the server is shutting down.
func (x *session) enter(p *pool) (release func(), err error) {
	own, done := p.ofKey(gossh.FingerprintSHA256(x.pub))
	if err := x.take(p, own); err != nil {
		done()
		return nil, err
	}
	if err := x.take(p, p.turns); err != nil {
		own.Release(1)
		done()
		return nil, err
	}
	return func() {
		p.turns.Release(1)
		own.Release(1)
		done()
	}, nil
}

func (x *session) take(p *pool, t *turns) error {
	if t.TryAcquire(1) {
		return nil
	}
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	defer context.AfterFunc(x.s.soft, cancel)()
	var telling sync.WaitGroup
	defer telling.Wait()
	told, stop := context.WithCancel(ctx)
	defer stop()
	telling.Go(func() {
		timer := time.NewTimer(waitUntold)
		defer timer.Stop()
		for {
			select {
			case <-told.Done():
				return
			case <-timer.C:
				x.tell(fmt.Sprintf("waiting: %s runs %d %s at a time", t.of, t.size, p.what))
				timer.Reset(waitTold)
			}
		}
	})
	switch err := t.Acquire(ctx, 1); {
	case err == nil:
		return nil
	case x.s.soft.Err() != nil:
		return errShuttingDown
	default:
		return fmt.Errorf("wait for a turn: %w", err)
	}
}
