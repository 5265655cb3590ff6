package admit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"refship/deploy/text"
)

// A client that waits for a turn is told so after waitUntold, and then every waitTold.
const (
	waitUntold = time.Second
	waitTold   = 10 * time.Second
)

// Pool bounds what commands of a kind take of something, here of memory in bytes, and how much of it is one key's: a
// key's clients may do nothing for as long as they like, and must not keep other keys waiting. A key gets more while it
// has, with that, no more than is free. So of 128 equal turns the first key that wants all gets 64, a second one 32, a
// third one 16: each leaves as many free as it has. This is the dynamic threshold of A. K. Choudhury and E. L. Hahne,
// "Dynamic queue length thresholds for shared-memory packet switches" (1998), with alpha = 1.
//
// A command that gets no turn waits. Whenever a turn is given back, the waiting commands are tried in the order in
// which they came, and each that can have a turn gets it: one that wants little goes past one that wants much.
type Pool struct {
	one, many string // "push", "pushes"
	size      int64

	mu      sync.Mutex
	used    int64
	held    map[string]share // of each key that has any
	waiting []*Turn          // in the order in which they came
}

// share is what the turns of one key, or of all, are together.
type share struct {
	turns int
	size  int64
}

// Turn is what a command of a key has of a pool, or waits for.
type Turn struct {
	of      *Pool
	key     string
	size    int64
	granted chan struct{} // closed when the command may run
	before  int           // turns that the key had when it was granted
}

// NewPool makes a pool of a size in bytes, for commands that are called one and many: "push", "pushes".
func NewPool(one, many string, size int64) *Pool {
	return &Pool{one: one, many: many, size: size, held: map[string]share{}}
}

// Size is what the pool has in all.
func (p *Pool) Size() int64 { return p.size }

// Most is the most that one command may take of a pool: half of it, so that another key always finds some left, or
// what is the least for any.
func (p *Pool) Most(least int64) int64 { return max(p.size/2, min(least, p.size)) }

// Request gives a turn of a size, granted at once or waiting. In both cases it must be given back.
func (p *Pool) Request(key string, size int64) *Turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &Turn{of: p, key: key, size: size, granted: make(chan struct{})}
	if !p.grant(t) {
		p.waiting = append(p.waiting, t)
	}
	return t
}

// grant grants a turn if its key may have so much more. The caller holds p.mu.
func (p *Pool) grant(t *Turn) bool {
	held := p.held[t.key]
	if held.size+t.size > p.size-p.used {
		return false
	}
	p.used += t.size
	t.before = held.turns
	p.held[t.key] = share{held.turns + 1, held.size + t.size}
	close(t.granted)
	return true
}

// Nice is for the git of a turn that was granted, in steps of its nice value. Of what wants a processor the kernel
// gives each process the same part, so a key with 64 pushes would have 64 times what another has. With each turn more a
// key's git has less than half of what the git of the turn before has, which gives all of them together little more
// than the two first. Where nobody else wants the processor it takes nothing.
func (t *Turn) Nice() int {
	const steps = 4
	return steps * t.before
}

// GiveBack ends a turn, or the waiting for it.
func (t *Turn) GiveBack() {
	p := t.of
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-t.granted:
	default:
		p.waiting = slices.DeleteFunc(p.waiting, func(w *Turn) bool { return w == t })
		return // no more is free than before
	}
	p.used -= t.size
	held := p.held[t.key]
	p.held[t.key] = share{held.turns - 1, held.size - t.size}
	if held.turns == 1 {
		delete(p.held, t.key)
	}
	var still []*Turn
	for _, w := range p.waiting {
		if !p.grant(w) {
			still = append(still, w)
		}
	}
	p.waiting = still
}

// waitsFor says what a turn waits for.
func (t *Turn) waitsFor() string {
	p := t.of
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.size > p.size-p.used {
		all := 0
		for _, held := range p.held {
			all += held.turns
		}
		return fmt.Sprintf("the server works on %s, as many as its memory for git allows at a time",
			text.Plural(all, p.one, p.many))
	}
	return fmt.Sprintf("the server works on %s of your key, and what is free is kept for other keys",
		text.Plural(p.held[t.key].turns, p.one, p.many))
}

// Taken is what is used of the pool.
func (p *Pool) Taken() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Granted tells whether the command may run.
func (t *Turn) Granted() bool {
	select {
	case <-t.granted:
		return true
	default:
		return false
	}
}

// Wait returns when the turn is granted, or with the cause of ctx's end. tell is called with what the turn waits for.
func (t *Turn) Wait(ctx context.Context, tell func(what string)) error {
	again := time.NewTimer(waitUntold)
	defer again.Stop()
	for {
		select {
		case <-t.granted:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
			tell(t.waitsFor())
			again.Reset(waitTold)
		}
	}
}
