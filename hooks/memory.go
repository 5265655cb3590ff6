package hooks

import (
	"context"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

// What git takes to read for a run is bounded for all runs together by Config.GitMemory. It is shared out with the
// turns: a run has as many equal parts of it as it has turns. Most need a fraction of one. Where git wants more than
// that, an object that is stored as a delta of a large file for example, the run gives its turns back, waits for all of
// them, and reads again with all of the memory. What does not fit then is refused.
//
// Verdicts are taken without a turn: they read commits, and each run may take glanceMemory for them. It is counted with
// the push, whose own processes have little to do then (gitserver).
const (
	glanceMemory = 24 << 20
	// turnMemory is what a turn should have at least: with less memory there are fewer turns.
	turnMemory = 64 << 20
)

// ReasonMemory: git needs more memory than it may take.
const ReasonMemory fault.Reason = "git-memory-limit"

// turnsWithin is how many deliveries are read and stored at a time, where git may take so much memory.
func turnsWithin(memory int64) int64 {
	if memory == 0 {
		return maxLoading
	}
	return max(1, min(maxLoading, memory/turnMemory))
}

// memoryOf is what git may take with so many turns, in bytes; 0: any.
func (e *Engine) memoryOf(turns int64) int64 {
	switch {
	case e.cfg.GitMemory == 0:
		return 0
	case turns == 0:
		return min(glanceMemory, e.cfg.GitMemory)
	}
	return e.cfg.GitMemory / e.loading.Size() * turns
}

// inTurn runs a step that reads or stores, when there is room among those who do. A run has its chain locks before it
// takes its turn, or needs none until it gives the turn back, and waits for no lock while it has one: so no run waits
// in a circle. A step may be run a second time after it failed.
func (r *run) inTurn(ctx context.Context, step func(context.Context) error) error {
	return r.withMemory(ctx, min(int64(len(r.open())), r.engine.loading.Size()), step)
}

// withMemory runs a step with so many turns, and if git needs more memory than belongs to them, once more with all.
func (r *run) withMemory(ctx context.Context, turns int64, step func(context.Context) error) error {
	err := r.holding(ctx, turns, step)
	e := r.engine
	if e.cfg.GitMemory == 0 || !git.IsOutOfMemory(err) {
		return err
	}
	if turns < e.loading.Size() {
		e.cfg.Log.InfoContext(ctx, "git needs more memory", "repository", r.gitDir, "error", err)
		if err = r.holding(ctx, e.loading.Size(), step); !git.IsOutOfMemory(err) {
			return err
		}
	}
	return &fault.Error{
		Kind: fault.Refused, Reason: ReasonMemory, Cause: err,
		What: fmt.Sprintf("git needs more than %s of memory to read what is to be deployed",
			text.Size(e.memoryOf(e.loading.Size()))),
	}
}

// key is whose deploys these are, for turns.
func (r *run) key() string { return r.deliveries[0].job.Pusher.Key }

// holding runs a step with so many turns and the memory that belongs to them.
func (r *run) holding(ctx context.Context, turns int64, step func(context.Context) error) error {
	e := r.engine
	if turns > 0 {
		var give func()
		err := r.out.During("", "waiting for other deploys to be stored", func(func(text.Progress)) (err error) {
			give, err = e.loading.Take(ctx, r.key(), turns)
			return err
		})
		if err != nil {
			return context.Cause(ctx)
		}
		defer give()
	}
	defer r.drop()
	if r.repository != nil {
		if err := r.repository.LimitMemory(e.memoryOf(turns)); err != nil {
			return err
		}
		defer func() { _ = r.repository.LimitMemory(e.memoryOf(0)) }() // lower: this git ends
	}
	return step(ctx)
}
