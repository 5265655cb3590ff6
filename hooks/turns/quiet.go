package turns

import (
	"context"
	"sync"
)

// Quiet keeps work of two kinds apart: what may run beside other work, and what must run alone. The zero Quiet is
// ready.
type Quiet struct {
	mu      sync.Mutex
	running int  // of those that Enter let in
	alone   bool // work runs alone
	changed chan struct{}
}

// Enter waits until no work runs alone, or for ctx to end. Work that still waits to run alone keeps no other work out.
func (q *Quiet) Enter(ctx context.Context) (leave func(), err error) {
	err = q.wait(ctx, func() bool {
		if !q.alone {
			q.running++
			return true
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { q.change(func() { q.running-- }) }), nil
}

// Alone waits until nothing runs, or for ctx to end. Then nothing runs until done is called.
func (q *Quiet) Alone(ctx context.Context) (done func(), err error) {
	err = q.wait(ctx, func() bool {
		if !q.alone && q.running == 0 {
			q.alone = true
			return true
		}
		return false
	})
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { q.change(func() { q.alone = false }) }), nil
}

// wait waits until take, which is called with the mutex, gives true.
func (q *Quiet) wait(ctx context.Context, take func() bool) error {
	for {
		q.mu.Lock()
		taken := take()
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		q.mu.Unlock()
		if taken {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (q *Quiet) change(how func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	how()
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}
