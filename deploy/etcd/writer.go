package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"refship/deploy/fault"
)

// etcd's limits, and how Exist and Writer stay below them.
const (
	MaxOps     = 128              // operations in a txn of a stock etcd
	BatchBytes = 1 << 20          // keys and values in a txn, unless one value alone is larger
	MaxValue   = 1536*1024 - 4096 // the largest value that surely fits one request of 1.5 MiB
	inFlight   = 4                // txns under way at once
)

// Writer puts keys in txns of at most MaxOps operations and BatchBytes, four at once. A layer is what is put between
// two Barriers: its puts may reach etcd in any order. The same key twice within a layer is put once, with the first
// value: keys are content addressed, so a put can be repeated and no value differs. Memory is bounded by five batches
// and the layer's keys.
//
// After the first error of a txn, and after the end of ctx, every Put and Barrier returns that error. Some of the
// layer's keys may have been written then, even by the txn that failed. Not safe for concurrent use.
type Writer struct {
	ctx    context.Context
	commit func(ctx context.Context, puts []clientv3.Op) error
	err    error

	layer    *errgroup.Group
	layerCtx context.Context // ends with the layer's first error
	seen     map[string]struct{}
	batch    []clientv3.Op
	size     int // bytes in batch

	keys, bytes atomic.Int64
}

// ErrCompare: what a Writer's txns compare is no longer so. Such a txn has written nothing.
var ErrCompare = errors.New("compare failed")

// NewWriter makes a writer whose txns all end with ctx, and all make the compares. It needs no closing. Puts without a
// later Barrier may get lost.
func NewWriter(ctx context.Context, kv clientv3.KV, ifs ...clientv3.Cmp) *Writer {
	return NewWriterBy(ctx, func(ctx context.Context, puts []clientv3.Op) error {
		resp, err := kv.Txn(ctx).If(slices.Clone(ifs)...).Then(puts...).Commit()
		if err == nil && !resp.Succeeded {
			err = ErrCompare
		}
		return err
	})
}

// NewWriterBy is NewWriter with txns that the caller commits: those that do more than put, or compare for themselves.
func NewWriterBy(ctx context.Context, commit func(ctx context.Context, puts []clientv3.Op) error) *Writer {
	w := &Writer{ctx: ctx, commit: commit}
	w.begin()
	return w
}

func (w *Writer) begin() {
	w.layer, w.layerCtx = errgroup.WithContext(w.ctx)
	w.layer.SetLimit(inFlight)
	w.seen = make(map[string]struct{})
}

// Put adds a put to the layer. It waits while four txns are under way and another one is full. The writer keeps value
// until it is written. A value over MaxValue is refused.
func (w *Writer) Put(key string, value []byte) error {
	if w.err != nil {
		return w.err
	}
	if w.layerCtx.Err() != nil {
		return w.end()
	}
	if key == "" {
		return w.fail(errors.New("write key: the key is empty"))
	}
	if len(value) > MaxValue {
		return w.fail(fault.Newf(fault.Refused, "value of %q is %d bytes (limit %d)", key, len(value), MaxValue))
	}
	if _, again := w.seen[key]; again {
		return nil
	}
	w.seen[key] = struct{}{}
	if size := len(key) + len(value); w.size+size > BatchBytes || len(w.batch) == MaxOps {
		w.send()
	}
	put := clientv3.OpPut(key, "")
	put.WithValueBytes(value) // as a string it would be copied twice
	w.batch = append(w.batch, put)
	w.size += len(key) + len(value)
	return nil
}

// Barrier ends the layer. When it returns nil, etcd has acknowledged all puts so far.
func (w *Writer) Barrier() error {
	if w.err != nil {
		return w.err
	}
	w.send()
	if err := w.end(); err != nil {
		return err
	}
	w.begin()
	return nil
}

// Written tells how many keys, and bytes of values, etcd has acknowledged so far. Any goroutine may call it.
func (w *Writer) Written() (keys int, bytes int64) {
	return int(w.keys.Load()), w.bytes.Load()
}

// end waits for the layer's txns and keeps their error.
func (w *Writer) end() error {
	err := w.layer.Wait()
	if err == nil {
		err = w.ctx.Err()
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

func (w *Writer) fail(err error) error {
	w.err, w.batch, w.seen = err, nil, nil
	return err
}

// send gives the batch to a goroutine, and waits until fewer than inFlight are under way.
func (w *Writer) send() {
	if len(w.batch) == 0 {
		return
	}
	ctx, ops := w.layerCtx, w.batch
	w.batch, w.size = nil, 0
	w.layer.Go(func() error { return w.write(ctx, ops) })
}

// write commits one txn.
func (w *Writer) write(ctx context.Context, ops []clientv3.Op) error {
	if err := w.commit(ctx, ops); err != nil {
		return fmt.Errorf("write %d keys from %q on: %w", len(ops), ops[0].KeyBytes(), Classify(err))
	}
	for _, op := range ops {
		w.keys.Add(1)
		w.bytes.Add(int64(len(op.ValueBytes())))
	}
	return nil
}
