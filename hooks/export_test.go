package hooks

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"refship/deploy/text"
	"refship/hooks/check"
)

// SetLockWait shortens how long pushes wait for chain locks.
func (e *Engine) SetLockWait(d time.Duration) { e.lockWait = d }

// TakeTurns keeps all others from reading and storing.
func (e *Engine) TakeTurns(ctx context.Context) (give func(), err error) {
	return func() { e.loading.Release(maxLoading) }, e.loading.Acquire(ctx, maxLoading)
}

// SetCheck changes how long a check may take, and how long to end when it is told to.
func (e *Engine) SetCheck(limit, grace time.Duration) {
	e.checks = check.NewRunner(check.Config{
		Dir: filepath.Join(e.cfg.Dir, checksDir), Limit: limit, Grace: grace, Every: e.every, Log: e.cfg.Log,
	})
}

// TakeChecks runs checks, as many as can run at a time, until give is called.
func (e *Engine) TakeChecks(ctx context.Context) (give func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running, started sync.WaitGroup
	for range 4 {
		started.Add(1)
		running.Go(func() {
			_ = e.checks.Run(ctx, &check.Check{ // it is told to end
				Target: "waiting", Command: "exec sleep 1000",
				WriteTree: func(context.Context, string, int64, func(text.Progress)) error { started.Done(); return nil },
				Say:       func(string) {},
				During:    func(_ string, fn func(func(text.Progress)) error) error { return fn(func(text.Progress) {}) },
			})
		})
	}
	started.Wait()
	return func() {
		cancel()
		running.Wait()
	}
}
