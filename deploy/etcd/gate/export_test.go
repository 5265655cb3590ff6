package gate

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
)

// Check tells whether a request passes the gate of a namespace.
func Check(namespace string, request proto.Message) error {
	return newRules(namespace).check(request, new(session).checkPut)
}

// RequireLeader gives the context that a call is forwarded with.
func RequireLeader(ctx context.Context) context.Context { return requireLeader(ctx) }

// Pace tells how long a client waits that has sent n requests at one moment, and one after so long a pause.
func Pace(n int, pause time.Duration) (last, next time.Duration) {
	var p pace
	now := time.Now()
	for range n {
		last = p.take(now)
	}
	return last, p.take(now.Add(pause))
}

// The bounds that tests check.
const (
	MaxWatches = maxWatches
	MaxAnswer  = maxAnswer
	MaxRequest = maxRequest
	MaxBehind  = maxBehind
	MaxOfOne   = maxHeldByOne
)

// HoldsAtMost tells whether answers hold at most so many bytes of a server's memory.
func (g *Server) HoldsAtMost(n int64) bool {
	ok := g.memory.all.TryAcquire(maxHeld - n)
	if ok {
		g.memory.all.Release(maxHeld - n)
	}
	return ok
}
