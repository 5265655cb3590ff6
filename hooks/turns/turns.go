package turns

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// WithoutTurn is what git may take for a run without a turn, in bytes.
	WithoutTurn = 24 << 20
	// least is what a turn should have, in bytes: with less memory there are fewer turns.
	least = 64 << 20
	// most is how many turns there are where there is memory for git to read so many deliveries. Each keeps up to 32 MiB
	// of new content between reading and storing it, and a few MiB of requests to etcd, so this bounds the memory for
	// them to some 300 MiB. What their plans take is bounded by package deploy. More at once would be no faster: git and
	// etcd's disk are what everything waits for.
	most = 8
)

// Turns lets so many deliveries be read and stored at a time, first come, first served, and those of one key only in
// half of the turns: however many deploys a key has waiting, and however long each of them takes, the other half is for
// other keys.
type Turns struct {
	memory int64
	size   int64
	all    *semaphore.Weighted

	mu   sync.Mutex
	keys map[string]*keyTurns // that have turns, or wait for some
}

type keyTurns struct {
	part  *semaphore.Weighted
	users int
}

// New gives as many turns as there is memory for, in bytes (0: any), all of them free.
func New(memory int64) *Turns {
	size := int64(most)
	if memory != 0 {
		size = max(1, min(most, memory/least))
	}
	return &Turns{memory: memory, size: size, all: semaphore.NewWeighted(size), keys: map[string]*keyTurns{}}
}

// Memory is what git may take with n turns, in bytes; 0: any.
func (t *Turns) Memory(n int64) int64 {
	if n == 0 {
		return min(WithoutTurn, t.memory)
	}
	return t.memory / t.size * n
}

// part is how many turns a key may have: half of them. A run that needs more, up to all, has to be the only one of its
// key.
func (t *Turns) part() int64 { return max(1, t.size/2) }

// Take waits for n turns of a key, or for ctx to end.
func (t *Turns) Take(ctx context.Context, key string, n int64) (give func(), err error) {
	mine := min(n, t.part())
	k := t.enter(key)
	if err := k.part.Acquire(ctx, mine); err != nil {
		t.leave(key)
		return nil, err
	}
	if err := t.all.Acquire(ctx, n); err != nil {
		k.part.Release(mine)
		t.leave(key)
		return nil, err
	}
	return func() {
		t.all.Release(n)
		k.part.Release(mine)
		t.leave(key)
	}, nil
}

// IsFull tells whether a key that takes a turn now has to wait for another one's end.
func (t *Turns) IsFull(key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.keys[key]; k != nil {
		if !k.part.TryAcquire(1) {
			return true
		}
		k.part.Release(1)
	}
	if !t.all.TryAcquire(1) {
		return true
	}
	t.all.Release(1)
	return false
}

func (t *Turns) enter(key string) *keyTurns {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys[key]
	if k == nil {
		k = &keyTurns{part: semaphore.NewWeighted(t.part())}
		t.keys[key] = k
	}
	k.users++
	return k
}

func (t *Turns) leave(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.keys[key]; k.users > 1 {
		k.users--
	} else {
		delete(t.keys, key)
	}
}

// Size is how many turns there are.
func (t *Turns) Size() int64 { return t.size }

// Asked is how often a key has a turn, or waits for one.
func (t *Turns) Asked(key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := t.keys[key]; k != nil {
		return k.users
	}
	return 0
}
