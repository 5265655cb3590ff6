package gate

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// What answers may take in memory, in bytes, from when etcd is asked until the client has read them.
const (
	maxHeldByOne = 2 * maxAnswer // all gates of one key
	maxHeld      = 4 * maxAnswer // all gates
	fewAnswer    = maxAnswer / 4 // the answer of a request for few values
	fewValues    = 4
	countAnswer  = 1 << 20 // the answer of a request for counts
)

// memory is what the gates of all keys share.
type memory struct {
	all *semaphore.Weighted

	mu     sync.Mutex
	shares map[string]*share // of each key that has a gate
}

// share is that of one key.
type share struct {
	held  *semaphore.Weighted
	gates int
}

func newMemory() *memory {
	return &memory{all: semaphore.NewWeighted(maxHeld), shares: map[string]*share{}}
}

// enter gives the account of a gate of a key.
func (m *memory) enter(key string) *account {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.shares[key]
	if s == nil {
		s = &share{held: semaphore.NewWeighted(maxHeldByOne)}
		m.shares[key] = s
	}
	s.gates++
	return &account{of: m, key: key, share: s}
}

// account is what one gate has of the memory. Package mem's buffers may outlive the gate: what it has left at its end
// is given back then, once.
type account struct {
	of    *memory
	key   string
	share *share

	mu    sync.Mutex
	held  int64
	ended bool
}

// take waits until there are n bytes more for the gate.
func (a *account) take(ctx context.Context, n int64) error {
	if err := a.share.held.Acquire(ctx, n); err != nil {
		return err
	}
	if err := a.of.all.Acquire(ctx, n); err != nil {
		a.share.held.Release(n)
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held += n // take is called by handlers of the gate, and end when they have ended
	return nil
}

// give gives n bytes back.
func (a *account) give(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.release(n)
}

func (a *account) release(n int64) {
	a.held -= n
	a.share.held.Release(n)
	a.of.all.Release(n)
}

// end gives back what is left.
func (a *account) end() {
	a.mu.Lock()
	a.ended = true
	a.release(a.held)
	a.mu.Unlock()
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if a.share.gates--; a.share.gates == 0 {
		delete(a.of.shares, a.key)
	}
}

// answerSize is the most that the answer of a request may be, in bytes.
func answerSize(request proto.Message) int64 {
	var ranges []*pb.RangeRequest
	switch q := request.(type) {
	case *pb.RangeRequest:
		ranges = []*pb.RangeRequest{q}
	case *pb.TxnRequest:
		for _, op := range append(q.Success[:len(q.Success):len(q.Success)], q.Failure...) {
			if q := op.GetRequestRange(); q != nil {
				ranges = append(ranges, q)
			}
		}
	}
	values, isOpen := int64(0), false
	for _, q := range ranges {
		switch {
		case q.CountOnly:
		case len(q.RangeEnd) == 0:
			values++
		case q.Limit == 0:
			isOpen = true
		default:
			values += q.Limit
		}
	}
	switch {
	case isOpen || values > fewValues:
		return maxAnswer
	case values > 0:
		return fewAnswer
	}
	return countAnswer
}

// held gives an answer's buffers, which count until gRPC has sent and freed them. The answer was counted as size.
func (a *account) buffers(data mem.BufferSlice, size int64) mem.BufferSlice {
	rest := size
	counted := make(mem.BufferSlice, 0, len(data))
	for _, b := range data {
		n := int64(b.Len())
		if mem.IsBelowBufferPoolingThreshold(b.Len()) || n > rest { // gRPC tells of no end of small ones
			counted = append(counted, b)
			continue
		}
		rest -= n
		bytes := b.ReadOnlyData()
		counted = append(counted, mem.NewBuffer(&bytes, freed{b, func() { a.give(n) }}))
	}
	a.give(rest)
	return counted
}

// freed is a buffer's pool, to which gRPC gives it back.
type freed struct {
	buffer mem.Buffer
	give   func()
}

// Get implements mem.BufferPool.
func (freed) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Put implements mem.BufferPool.
func (f freed) Put(*[]byte) {
	f.buffer.Free()
	f.give()
}
