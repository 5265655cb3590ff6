package hooks

import (
	"context"
	"time"
)

// SetLockWait shortens how long pushes wait for chain locks.
func (e *Engine) SetLockWait(d time.Duration) { e.lockWait = d }

// TakeTurns keeps all others from reading and storing.
func (e *Engine) TakeTurns(ctx context.Context) (give func(), err error) {
	return func() { e.loading.Release(maxLoading) }, e.loading.Acquire(ctx, maxLoading)
}
