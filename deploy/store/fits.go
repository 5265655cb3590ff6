package store

import (
	"context"
	"fmt"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// checkFits refuses a deploy that is too large to be checked out, or that the disk of a directory has no room for: all
// of its nodes are read, and nothing is written. files is how many there are.
func checkFits(ctx context.Context, nodes *Nodes, root tree.Entry, dir string) (files int, err error) {
	t, err := nodes.Tally(ctx, tree.Entry{}, root)
	if err != nil {
		return 0, err
	}
	free, err := disk.Free(dir)
	if err != nil {
		return 0, err
	}
	if t.Bytes > free {
		what := fmt.Sprintf("it takes %s, and the disk of %q has %s free", text.Size(t.Bytes), dir, text.Size(free))
		return 0, fault.New(fault.Refused, what, "free some space there, or name a directory on another disk")
	}
	return t.Added, nil
}
