package hooks

import (
	"context"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

// ReasonMemory: git needs more memory than it may take.
const ReasonMemory fault.Reason = "git-memory-limit"

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
			text.Size(e.loading.Memory(e.loading.Size()))),
	}
}

// holding runs a step with so many turns and the memory that belongs to them.
func (r *run) holding(ctx context.Context, turns int64, step func(context.Context) error) error {
	e := r.engine
	if turns > 0 {
		var give func()
		err := r.out.During("", "waiting for other deploys to be stored", func(func(text.Progress)) (err error) {
			give, err = e.loading.Take(ctx, r.deliveries[0].job.Pusher.Key, turns)
			return err
		})
		if err != nil {
			return context.Cause(ctx)
		}
		defer give()
	}
	defer r.drop()
	if r.repository != nil {
		if err := r.repository.LimitMemory(e.loading.Memory(turns)); err != nil {
			return err
		}
		defer func() { _ = r.repository.LimitMemory(e.loading.Memory(0)) }() // lower: this git ends
	}
	return step(ctx)
}
