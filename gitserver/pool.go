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

// How many commands run git at a time. Pushes and what only reads have a pool each, so that clones never keep a push
// waiting. A git that waits for its client costs about 4 MiB, most of it shared with the others.
const (
	maxPushes  = 128
	maxFetches = 128
)

// A command that waits for its turn tells its client after waitUntold, and then every waitTold.
const (
	waitUntold = time.Second
	waitTold   = 10 * time.Second
)

// pool bounds how many commands of a kind run, and how many of them are one key's: a key's clients may do nothing for
// as long as they like, and must not keep other keys waiting. A key gets one more turn while it has fewer than are
// free. So of 128 turns the first key that wants all gets 64, a second one 32, a third one 16: each leaves as many
// free as it has. This is the dynamic threshold of A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds
// for shared-memory packet switches" (1998), with alpha = 1.
//
// A command that gets no turn waits. Whenever a turn is given back, the waiting commands are tried in the order in
// which they came, and each that can have a turn gets it.
type pool struct {
	one, many string // "push", "pushes"
	size      int

	mu      sync.Mutex
	used    int
	held    map[string]int // turns of each key that has any, by fingerprint
	waiting []*turn        // in the order in which they came
}

// turn is what a command of a key has, or waits for.
type turn struct {
	key     string
	granted chan struct{} // closed when the command may run
}

func newPool(one, many string, size int) *pool {
	return &pool{one: one, many: many, size: size, held: map[string]int{}}
}

// request gives a turn, granted at once or waiting. In both cases it must be given back.
func (p *pool) request(key string) *turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &turn{key: key, granted: make(chan struct{})}
	if !p.grant(t) {
		p.waiting = append(p.waiting, t)
	}
	return t
}

// grant grants a turn if its key may have one more. No turn that was refused before could be granted after this one.
// The caller holds p.mu.
func (p *pool) grant(t *turn) bool {
	if p.held[t.key] >= p.size-p.used {
		return false
	}
	p.used++
	p.held[t.key]++
	close(t.granted)
	return true
}

// giveBack ends a turn, or the waiting for it.
func (p *pool) giveBack(t *turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-t.granted:
	default:
		p.waiting = slices.DeleteFunc(p.waiting, func(w *turn) bool { return w == t })
		return // no more turns are free than before
	}
	p.used--
	if p.held[t.key]--; p.held[t.key] == 0 {
		delete(p.held, t.key)
	}
	var still []*turn
	for _, w := range p.waiting {
		if !p.grant(w) {
			still = append(still, w)
		}
	}
	p.waiting = still
}

// waitsFor says what a key waits for.
func (p *pool) waitsFor(key string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= p.size {
		return fmt.Sprintf("the server runs %s, as many as it does at a time", text.Plural(p.used, p.one, p.many))
	}
	return fmt.Sprintf("your key runs %d of at most %s, and what is free is kept for other keys",
		p.held[key], text.Plural(p.size, p.one, p.many))
}

// enter finds a repository on which the key may do what the command needs, and waits for a turn to run git in it, which
// release gives back. It gives up when the client leaves or the server is shutting down. If it had to wait, it looks up
// again whether the key may do that; now is the key as it is then.
func (x *session) enter(
	p *pool, key *keys.Key, name string, need keys.Action,
) (dir string, now *keys.Key, release func(), err error) {
	if dir, err = x.findRepository(key, name, need); err != nil {
		return "", nil, nil, err
	}
	t := p.request(gossh.FingerprintSHA256(x.pub))
	release = func() { p.giveBack(t) }
	select {
	case <-t.granted:
		return dir, key, release, nil
	default:
	}
	if err = x.awaitGrant(p, t); err == nil {
		now, err = x.stillMay(name, need)
	}
	if err != nil {
		release()
		return "", nil, nil, err
	}
	return dir, now, release, nil
}

// awaitGrant returns when the turn is granted, or when it is no longer of use.
func (x *session) awaitGrant(p *pool, t *turn) error {
	tell := time.NewTimer(waitUntold)
	defer tell.Stop()
	for {
		select {
		case <-t.granted:
			return nil
		case <-x.s.stopping.Done():
			return errShuttingDown
		case <-x.ctx.Done():
			return fmt.Errorf("wait for a turn: %w", context.Cause(x.ctx))
		case <-tell.C:
			x.tell("waiting: " + p.waitsFor(t.key))
			tell.Reset(waitTold)
		}
	}
}
