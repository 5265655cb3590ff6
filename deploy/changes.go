package deploy

import (
	"context"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// maxListed is how many changes a Prepared lists.
const maxListed = 1000

// countFiles compares the tree with the head's.
func (p *Prepared) countFiles(ctx context.Context) error {
	head := p.Verdict.Head
	if head == nil || head.Record == nil {
		return p.countFrom(ctx, tree.Entry{})
	}
	p.Files = head.Record.Files
	err := p.countFrom(ctx, head.Record.Root())
	if fault.Is(err, fault.Corrupt) || err == nil && p.Files < 0 {
		// The head cannot be compared with, and this deploy must not depend on it.
		p.chain.log.WarnContext(ctx, "count all files", "deploy", head.ID, "error", err)
		p.Files, p.Changed, p.Added, p.Modified, p.Deleted, p.Submodules, p.Listed = 0, 0, 0, 0, 0, nil, nil
		return p.countFrom(ctx, tree.Entry{})
	}
	return err
}

// countFrom counts on from a tree, or from nothing.
func (p *Prepared) countFrom(ctx context.Context, old tree.Entry) error {
	long := ""
	err := p.nodes.Diff(ctx, old, p.root, func(c store.Change) {
		if c.New != nil && len(c.Path) > record.MaxPath {
			long = c.Path // in a directory that is deeper in this tree than where its paths were checked
		}
		p.countChange(c)
	})
	p.trimListed()
	for i := range p.Listed {
		p.Listed[i] = p.Listed[i].Clone()
	}
	if err == nil && long != "" {
		err = badName(long, p.job.afterChange())
	}
	return err
}

// countChange counts a change, and lists it.
func (p *Prepared) countChange(c store.Change) {
	file := func(e *tree.Entry) bool { return e != nil && e.Mode != filemode.Submodule }
	switch was, is := file(c.Old), file(c.New); {
	case was && is:
		p.Modified++
	case was:
		p.Deleted++
		p.Files--
	case is:
		p.Added++
		p.Files++
	}
	p.Changed = p.Added + p.Modified + p.Deleted
	if c.New != nil && c.New.Mode == filemode.Submodule {
		p.Submodules = append(p.Submodules, c.Path)
	}
	if !file(c.Old) && !file(c.New) {
		return
	}
	if p.Listed = append(p.Listed, c); len(p.Listed) == 2*maxListed {
		p.trimListed()
	}
}

// trimListed keeps the first of the changes so far.
func (p *Prepared) trimListed() {
	slices.SortFunc(p.Listed, func(a, b store.Change) int { return strings.Compare(a.Path, b.Path) })
	if len(p.Listed) > maxListed {
		clear(p.Listed[maxListed:])
		p.Listed = p.Listed[:maxListed]
	}
}
