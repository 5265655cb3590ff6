package hooks

import (
	"context"
	"time"
)

// SetLockWait shortens how long pushes wait for chain locks.
func (e *Engine) SetLockWait(d time.Duration) { e.lockWait = d }

// TakeTurn takes one turn of a key.
func (e *Engine) TakeTurn(ctx context.Context, key string) (give func(), err error) {
	return e.loading.Take(ctx, key, 1)
}

// AskedTurns is how often a key has a turn or waits for one.
func (e *Engine) AskedTurns(key string) int {
	return e.loading.Asked(key)
}

// TakeTurns keeps all others from reading and storing.
func (e *Engine) TakeTurns(ctx context.Context) (give func(), err error) {
	return e.loading.Take(ctx, "", e.loading.Size())
}
