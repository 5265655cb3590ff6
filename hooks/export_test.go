package hooks

import (
	"context"
	"time"
)

// SetLockWait shortens how long pushes wait for chain locks.
func (s *Server) SetLockWait(d time.Duration) { s.lockWait = d }

// TakeTurns keeps all others from reading and storing.
func (s *Server) TakeTurns(ctx context.Context) (give func(), err error) {
	return s.turns.take(ctx, maxLoading)
}

// SetCheck changes how long a check may take, and how long to end when it is told to.
func (s *Server) SetCheck(limit, grace time.Duration) { s.cfg.CheckLimit, s.checkGrace = limit, grace }

// TakeChecks keeps all others' checks from running.
func (s *Server) TakeChecks(ctx context.Context) (give func(), err error) {
	return func() { s.checks.Release(maxChecks) }, s.checks.Acquire(ctx, maxChecks)
}
