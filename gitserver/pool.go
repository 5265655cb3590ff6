package gitserver

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/text"
	"refship/keys"
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

// pool bounds how many of a kind of commands run, and how many of them are one key's: its clients may do nothing for as
// long as they like, and must not keep everybody else waiting. A key gets one more turn while it has fewer than are free.
// So of 128 the first key that wants all gets 64, a second one 32 of the others, a third one 16: each leaves as many as it
// has to those who come later. It is the dynamic threshold of A. K. Choudhury and E. L. Hahne, "Dynamic queue length
// thresholds for shared-memory packet switches" (1998), with alpha = 1.
//
// Who may not go waits. Whenever a turn is given back, all who wait are looked at in the order in which they came, and
// each who may go goes: nobody is left waiting who may.
type pool struct {
	one, many string // "push", "pushes"
	size      int

	mu      sync.Mutex
	used    int
	held    map[string]int // turns of each key, by fingerprint; of those only that have any
	waiting []*turn        // in the order in which they came
}

// turn is what a command of a key has, or waits for.
type turn struct {
	key   string
	given chan struct{} // closed when the command may run
}

func newPool(one, many string, size int) *pool {
	return &pool{one: one, many: many, size: size, held: map[string]int{}}
}

// ask gives a turn that is there or waits. In both cases it must be given back.
func (p *pool) ask(key string) *turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &turn{key: key, given: make(chan struct{})}
	if !p.give(t) {
		p.waiting = append(p.waiting, t)
	}
	return t
}

// give gives a turn if its key may have one more. That makes it harder for everybody: who could not go before still
// cannot. The caller holds p.mu.
func (p *pool) give(t *turn) bool {
	if p.held[t.key] >= p.size-p.used {
		return false
	}
	p.used++
	p.held[t.key]++
	close(t.given)
	return true
}

// giveBack ends a turn, or the waiting for it.
func (p *pool) giveBack(t *turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-t.given:
	default:
		p.waiting = slices.DeleteFunc(p.waiting, func(w *turn) bool { return w == t })
		return // nobody may do more than before
	}
	p.used--
	if p.held[t.key]--; p.held[t.key] == 0 {
		delete(p.held, t.key)
	}
	var still []*turn
	for _, w := range p.waiting {
		if !p.give(w) {
			still = append(still, w)
		}
	}
	p.waiting = still
}

// why says what a key waits for.
func (p *pool) why(key string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.size {
		return fmt.Sprintf("the server runs %s, as many as it does at a time", text.Plural(p.used, p.one, p.many))
	}
	return fmt.Sprintf("your key runs %d of at most %s, and what is free is kept for other keys", p.held[key], text.Plural(p.size, p.one, p.many))
}

// enter waits for a turn, which release gives back. It gives up when the client leaves or the server is shutting down. Who
// had to wait is asked again who it is and whether it may do what it needs.
func (x *session) enter(p *pool, key *keys.Key, name string, need keys.Action) (now *keys.Key, release func(), err error) {
	t := p.ask(gossh.FingerprintSHA256(x.pub))
	release = func() { p.giveBack(t) }
	select {
	case <-t.given:
		return key, release, nil
	default:
	}
	if err = x.await(p, t); err == nil {
		now, err = x.stillMay(name, need)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return now, release, nil
}

// await returns when the turn is given, or when it is of no use any more.
func (x *session) await(p *pool, t *turn) error {
	tell := time.NewTimer(waitUntold)
	defer tell.Stop()
	for {
		select {
		case <-t.given:
			return nil
		case <-x.s.soft.Done():
			return errShuttingDown
		case <-x.ctx.Done():
			return fmt.Errorf("wait for a turn: %w", context.Cause(x.ctx))
		case <-tell.C:
			x.tell("waiting: " + p.why(t.key))
			tell.Reset(waitTold)
		}
	}
}
