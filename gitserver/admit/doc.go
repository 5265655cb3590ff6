// Package admit decides which commands run at a time: admission control, by what each of them takes and by the key that
// it is of.
//
// # Words
//
// A pool is what commands of one kind share: here memory, in bytes. A key is what they are told apart by: the
// fingerprint of a user's key. A turn is what one command has of the pool, or waits for.
//
// # Use
//
//	t := pool.Request(key, size)   granted at once, or waiting in the order of the requests
//	defer t.GiveBack()             in both cases
//	err := t.Wait(ctx, tell)       until it is granted
//
// # Invariants
//
//   - What is granted is never more than the pool.
//   - A key gets more only while it has, with that, no more than is free: no key keeps the others waiting.
//   - No turn waits that could be granted.
//
// [MachineMemory] is what there is to share out.
//
// # Concurrency
//
// A [Pool] and its turns may be used by many goroutines.
package admit
