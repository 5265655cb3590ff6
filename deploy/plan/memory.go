package plan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// What plans may take in memory, in bytes: the directories and files that a deploy changes, not what is in the files.
const (
	maxPlan   = 256 << 20 // one plan
	smallPlan = 32 << 20  // a plan up to this size never waits for a larger one
	allSmall  = 256 << 20 // all small plans together
	allLarge  = 2 * maxPlan
	planStep  = 1 << 20 // memory is asked for in such steps
	// memoryWait is how long a plan waits for memory of others.
	memoryWait = 30 * time.Second
)

// Memory bounds what plans take together, those of one process. It may be used by many goroutines. A small plan takes
// what it needs; one that grows larger takes at once as much as a plan may have: several that grew step by step could
// wait for each other for ever.
type Memory struct{ small, large *semaphore.Weighted }

// NewMemory makes a Memory, all of which is free.
func NewMemory() *Memory {
	return &Memory{small: semaphore.NewWeighted(allSmall), large: semaphore.NewWeighted(allLarge)}
}

// share is one plan's part of a memory. It belongs to one goroutine.
type share struct {
	of    *Memory
	used  int64
	small int64 // taken of the memory for small plans
	large bool  // maxPlan is taken of the memory for large ones
}

// take is called before memory is taken. What is too much for a plan is a fault.Refused; a fault.Conflict says that
// other plans have the memory.
func (s *share) take(ctx context.Context, bytes int64) error {
	s.used += bytes
	switch {
	case s.used > maxPlan:
		return fault.New(fault.Refused,
			fmt.Sprintf("what changes takes more than %s of memory (the limit for one deploy)", text.Size(maxPlan)),
			"deploy it in parts: first some of the new directories, then the others")
	case s.large:
		return nil
	case s.used > smallPlan:
		if err := s.wait(ctx, s.of.large, maxPlan); err != nil {
			return err
		}
		s.large = true
		s.of.small.Release(s.small)
		s.small = 0
		return nil
	case s.used <= s.small:
		return nil
	}
	more := (s.used - s.small + planStep - 1) / planStep * planStep
	if err := s.wait(ctx, s.of.small, more); err != nil {
		return err
	}
	s.small += more
	return nil
}

// wait waits for a part of the memory.
func (s *share) wait(ctx context.Context, of *semaphore.Weighted, bytes int64) error {
	soon, cancel := context.WithTimeoutCause(ctx, memoryWait, errNoMemory)
	defer cancel()
	err := of.Acquire(soon, bytes)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(soon), errNoMemory):
		return fault.New(fault.Conflict, fmt.Sprintf("other large deploys had all the memory for %s", text.Took(memoryWait)),
			"try again in a moment")
	}
	return context.Cause(soon)
}

var errNoMemory = errors.New("no memory became free")

// giveBack gives everything back.
func (s *share) giveBack() {
	s.of.small.Release(s.small)
	if s.large {
		s.of.large.Release(maxPlan)
	}
	*s = share{of: s.of}
}
