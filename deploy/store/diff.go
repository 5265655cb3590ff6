package store

import (
	"context"
	"fmt"
	"iter"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// Change is one file, link or submodule that differs between two trees: in mode, oid or content. What became a
// directory, or was one, is deleted or added with all that is below it.
type Change struct {
	Path     string      // raw bytes, elements joined with "/"
	Old, New *tree.Entry // nil: not there
}

// Status is git's letter for the change (git-diff(1), --diff-filter): "A" added, "D" deleted, "T" another kind (file,
// link, submodule), "M" modified.
func (c Change) Status() string {
	const kind = 0o170000 // S_IFMT
	switch {
	case c.Old == nil:
		return "A"
	case c.New == nil:
		return "D"
	case (c.Old.Mode^c.New.Mode)&kind != 0:
		return "T"
	}
	return "M"
}

// Clone gives a copy that keeps no node in memory.
func (c Change) Clone() Change {
	entry := func(e *tree.Entry) *tree.Entry {
		if e == nil {
			return nil
		}
		own := *e
		own.Name = strings.Clone(e.Name)
		return &own
	}
	return Change{Path: strings.Clone(c.Path), Old: entry(c.Old), New: entry(c.New)}
}

// Diff calls fn for each file, link or submodule that differs between two deploys, sorted by path, bytewise. Every
// node that it reads is checked, contents are not read but for those of a foreign deploy. fn's error ends it.
func (c *Chain) Diff(ctx context.Context, a, b *record.Deploy, fn func(Change) error) (err error) {
	defer func() { err = c.Explain(ctx, err, a, b) }()
	n, roots := c.NewNodes(), [2]tree.Entry{}
	for i, d := range []*record.Deploy{a, b} {
		if roots[i], err = n.root(ctx, d); err != nil {
			return fmt.Errorf("read deploy %d: %w", d.ID, err)
		}
	}
	if err := n.Diff(ctx, roots[0], roots[1], fn); err != nil {
		return fmt.Errorf("compare deploys %d and %d: %w", a.ID, b.ID, err)
	}
	return nil
}

// Diff is Diff of two trees. A zero oid is the tree that is not there.
func (n *Nodes) Diff(ctx context.Context, old, new tree.Entry, fn func(Change) error) error {
	p, dirs := pairOf(&old, &new), 1
	if p.old != nil && p.new != nil && same(p.old, p.new) {
		return nil
	}
	if err := n.Load(ctx, p.dirs(nil)); err != nil {
		return err
	}
	return n.diffSorted(ctx, "", p, &dirs, 1, fn)
}

// pair is a directory's place in two trees, as the directories above name it; nil is "not there".
type pair struct{ old, new *tree.Entry }

// pairOf is a pair of roots.
func pairOf(old, new *tree.Entry) pair {
	there := func(e *tree.Entry) *tree.Entry {
		if e.OID.IsZero() {
			return nil
		}
		return e
	}
	return pair{there(old), there(new)}
}

// dirs appends the directories to a list.
func (p pair) dirs(list []*tree.Entry) []*tree.Entry {
	for _, e := range []*tree.Entry{p.old, p.new} {
		if e != nil {
			list = append(list, e)
		}
	}
	return list
}

// entry is one of the two; they have the same name, and both are directories or none is.
func (p pair) entry() *tree.Entry {
	if p.new != nil {
		return p.new
	}
	return p.old
}

// same tells whether two entries are one. The sha256 says it: two contents might share an oid. It alone does where the
// trees are of two object formats, and of a submodule nothing does there.
func same(a, b *tree.Entry) bool {
	named := a.OID == b.OID || a.OID.Format() != b.OID.Format() && a.Mode != filemode.Submodule
	return a.Mode == b.Mode && a.SHA256 == b.SHA256 && named
}

// sameSoFar is same where an open node is one of the two: as long as a sha256 is not known, the oid says it.
func sameSoFar(a, b *tree.Entry) bool {
	return same(a, b) || (!named(a) || !named(b)) && a.Mode == b.Mode && a.OID == b.OID
}

// maxDirs bounds how many directories a comparison looks into: a tree of a few hundred bytes can name itself so often
// that no disk could hold it checked out.
const maxDirs = 1_000_000

// diffSorted compares a directory that is loaded, the depth-th from the root, and all below it, in the order of the
// paths.
func (n *Nodes) diffSorted(
	ctx context.Context, where string, p pair, dirs *int, depth int, fn func(Change) error,
) error {
	differing, err := n.differing(p)
	if err != nil {
		return err
	}
	var below []*tree.Entry
	for p := range differing {
		if p.entry().Mode == dirMode {
			below = p.dirs(below)
			*dirs++
		}
	}
	switch {
	case *dirs > maxDirs:
		return tooLarge("the trees differ in more than %d directories", maxDirs)
	case depth > maxDepth && len(below) > 0:
		return tooDeep(where)
	}
	if err := n.Load(ctx, below); err != nil {
		return err
	}
	for p := range differing {
		at := path.Join(where, p.entry().Name)
		if p.entry().Mode == dirMode {
			err = n.diffSorted(ctx, at, p, dirs, depth+1, fn)
		} else {
			err = fn(Change{Path: at, Old: p.old, New: p.new})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// differing gives what differs in a directory that is loaded, in git's order, which is that of the whole paths.
func (n *Nodes) differing(p pair) (iter.Seq[pair], error) {
	old, err := n.Entries(p.old)
	if err != nil {
		return nil, err
	}
	new, err := n.Entries(p.new)
	if err != nil {
		return nil, err
	}
	same := same
	if p.old != nil && n.isOpen(p.old.OID) || p.new != nil && n.isOpen(p.new.OID) {
		same = sameSoFar
	}
	return func(yield func(pair) bool) {
		old, new := old, new
		for len(old) > 0 || len(new) > 0 {
			var p pair
			order := inOrder(old, new)
			if order <= 0 {
				p.old, old = &old[0], old[1:]
			}
			if order >= 0 {
				p.new, new = &new[0], new[1:]
			}
			if order == 0 && same(p.old, p.new) {
				continue
			}
			if !yield(p) {
				return
			}
		}
	}, nil
}

// inOrder tells which list's first entry comes first; 0: both have it.
func inOrder(old, new []tree.Entry) int {
	switch {
	case len(old) == 0:
		return 1
	case len(new) == 0:
		return -1
	}
	return strings.Compare(sortKey(&old[0]), sortKey(&new[0]))
}

// sortKey is what git sorts entries by.
func sortKey(e *tree.Entry) string {
	if e.Mode == dirMode {
		return e.Name + "/"
	}
	return e.Name
}
