package deploy

import (
	"context"

	"refship/deploy/plan"
	"refship/deploy/text"
)

// WriteTree writes the tree that the verdict is about into the empty directory dir, straight from the job's Source. See
// plan.WriteTree.
func (v *Verdict) WriteTree(
	ctx context.Context, from plan.Source, dir string, limit int64, progress func(text.Progress),
) error {
	return plan.WriteTree(ctx, from, v.tree, dir, limit, progress)
}
