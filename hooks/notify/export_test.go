package notify

import (
	"context"
	"time"

	"refship/hooks/target"
)

const (
	KeepFor    = keepFor
	FirstPause = firstPause
	LastPause  = lastPause
)

var (
	ErrCrowded = errCrowded
	SlackBody  = slack
)

// SetClock replaces what the Notifier knows of time.
func (n *Notifier) SetClock(now func() time.Time, sleep func(context.Context, time.Duration), random func() float64) {
	n.clock = clock{now: now, sleep: sleep, random: random}
}

// Add queues an event.
func (n *Notifier) Add(at Place, e *Event, must bool) error {
	return n.add(context.Background(), at, e, must)
}

// Deliver runs the line of a target's only receiver until nothing waits or ctx ends.
func (n *Notifier) Deliver(ctx context.Context, at Place) {
	to, err := at.Target.Notify.Receivers()
	if err != nil {
		panic(err)
	}
	l := &line{at: at, to: to[0], queue: n.queue(at, to[0]), notifier: n, log: n.log(at, to[0])}
	for ctx.Err() == nil {
		pause, some := l.step(ctx)
		if !some {
			return
		}
		n.clock.sleep(ctx, pause)
	}
}

// Waiting are the names of what waits for a receiver.
func (n *Notifier) Waiting(at Place, to target.Receiver) (names []string, bytes int64) {
	all, err := n.queue(at, to).list()
	if err != nil {
		panic(err)
	}
	for _, e := range all {
		names, bytes = append(names, e.name), bytes+e.size
	}
	return names, bytes
}

// QueueDir is where a receiver's queue is.
func QueueDir(at Place, to target.Receiver) string { return newQueue(at, to).dir }

// Limit makes a receiver's queue smaller.
func (n *Notifier) Limit(at Place, to target.Receiver, entries int, bytes int64) {
	q := n.queue(at, to)
	q.entries, q.bytes = entries, bytes
}

// Hang makes the disk of a receiver's queue hang until the result is called.
func (n *Notifier) Hang(at Place, to target.Receiver) (end func()) {
	q := n.queue(at, to)
	q.mu.Lock()
	return q.mu.Unlock
}

// Stall makes the looks at a target's chain hang, as they do when etcd does not answer, until the result is called.
func (n *Notifier) Stall(at Place) (end func()) {
	f, err := n.newFollower(at)
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.followers[at.dir()] = f
	f.mu.Lock()
	return f.mu.Unlock
}

// Look looks once at the chain of a target.
func (n *Notifier) Look(ctx context.Context, at Place) error {
	f, err := n.newFollower(at)
	if err == nil {
		_, err = f.look(ctx)
	}
	return err
}

// RefusedEvent is the event of a refused push.
var RefusedEvent = refused
