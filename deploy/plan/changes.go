package plan

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// maxListed is how many changes a Plan lists, and how many submodules.
const maxListed = 1000

// countFiles compares the tree with the head's.
func (p *Plan) countFiles(ctx context.Context) error {
	head := p.task.Head
	if head == nil {
		return p.countFrom(ctx, tree.Entry{}, 0)
	}
	err := p.countFrom(ctx, head.Root(), head.Files)
	if fault.Is(err, fault.Corrupt) || err == nil && p.Files < 0 {
		// The head cannot be compared with, and this deploy must not depend on it.
		p.task.Log.WarnContext(ctx, "count all files", "deploy", head.ID, "error", err)
		p.fromNothing = true
		return p.countFrom(ctx, tree.Entry{}, 0)
	}
	return err
}

// countFrom counts on from a tree of some files, or from nothing.
func (p *Plan) countFrom(ctx context.Context, old tree.Entry, files int) error {
	t, err := p.nodes.Tally(ctx, old, p.Root)
	if err != nil {
		return err
	}
	p.Added, p.Modified, p.Deleted = t.Added, t.Modified, t.Deleted
	p.Changed, p.Files = p.Added+p.Modified+p.Deleted, files+p.Added-p.Deleted
	if err := store.CheckCount(p.Files); err != nil {
		return err
	}
	return p.list(ctx, old, t)
}

var errListed = errors.New("enough is listed")

// list lists the first changes that were counted.
func (p *Plan) list(ctx context.Context, old tree.Entry, t store.Tally) error {
	p.Listed, p.Submodules = nil, nil
	changes, submodules := min(p.Changed, maxListed), min(t.Submodules, maxListed)
	if changes+submodules == 0 {
		return nil
	}
	file := func(e *tree.Entry) bool { return e != nil && e.Mode != filemode.Submodule }
	err := p.nodes.Diff(ctx, old, p.Root, func(c store.Change) error {
		if c.New != nil && c.New.Mode == filemode.Submodule && len(p.Submodules) < submodules {
			p.Submodules = append(p.Submodules, c.Path)
		}
		if (file(c.Old) || file(c.New)) && len(p.Listed) < changes {
			p.Listed = append(p.Listed, c.Clone())
		}
		if len(p.Listed) == changes && len(p.Submodules) == submodules {
			return errListed
		}
		return nil
	})
	if reason, _ := fault.ReasonOf(err); errors.Is(err, errListed) || reason == store.ReasonTreeLarge {
		return nil // too much is deleted to be listed
	}
	return err
}
