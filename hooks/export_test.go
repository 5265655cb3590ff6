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
