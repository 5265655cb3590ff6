package main

import (
	"context"
	"time"
)

// nowAndThen runs one kind of upkeep again and again until ctx ends, and never beside another kind: for the first time
// after first, or every if that is shorter, and then every so long after its end. every is 0 for never.
func (s *server) nowAndThen(ctx context.Context, first, every time.Duration, run func()) error {
	if every == 0 {
		return nil
	}
	next := time.NewTimer(min(first, every))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if err := s.upkeep.Acquire(ctx, 1); err != nil {
			return nil //nolint:nilerr // it is ctx's
		}
		run()
		s.upkeep.Release(1)
		next.Reset(every)
	}
}
