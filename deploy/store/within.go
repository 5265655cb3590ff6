package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrTooMuch: more would be read than Within allows.
var ErrTooMuch = errors.New("more would have to be read than is allowed at once")

// Within gives the chain, of which no more than about so many bytes can be read: then each read gives ErrTooMuch. The
// read that goes beyond it is the last, and fails.
func (c *Chain) Within(bytes int64) *Chain {
	within := &budget{reader: c.reader}
	within.left.Store(bytes)
	return New(within, c.ns)
}

// budget reads until so many bytes were read.
type budget struct {
	reader Reader
	left   atomic.Int64
}

func (b *budget) Read(ctx context.Context, revision int64, queries []Query) ([][]KeyValue, int64, error) {
	if b.left.Load() < 0 {
		return nil, 0, fmt.Errorf("read from etcd: %w", ErrTooMuch)
	}
	found, at, err := b.reader.Read(ctx, revision, queries)
	taken := int64(0)
	for _, one := range found {
		for _, kv := range one {
			taken += int64(len(kv.Key) + len(kv.Value))
		}
	}
	if err == nil && b.left.Add(-taken) < 0 {
		return nil, 0, fmt.Errorf("read from etcd: %w", ErrTooMuch)
	}
	return found, at, err
}
