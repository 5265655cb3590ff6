package store

import (
	"context"
	"fmt"
	"path"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// Change is one file, link or submodule that differs between two trees: in mode, oid or content. What became a
// directory, or was one, is deleted or added with all that is below it.
type Change struct {
	Path     string      // raw bytes, elements joined with "/"
	Old, New *tree.Entry // nil: not there
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
// node that it reads is checked, contents are not read. fn's error ends it.
func (c *Chain) Diff(ctx context.Context, a, b *record.Deploy, fn func(Change) error) error {
	for _, d := range []*record.Deploy{a, b} {
		if d.Record == nil {
			return c.noTreeError(d)
		}
	}
	n, root, dirs := c.NewNodes(), pair{old: a.Record.Root(), new: b.Record.Root()}, 1
	if same(&root.old, &root.new) {
		return nil
	}
	err := n.Load(ctx, root.oids(nil))
	if err == nil {
		err = n.diffSorted(ctx, root, &dirs, fn)
	}
	if err != nil {
		return fmt.Errorf("compare deploys %d and %d: %w", a.ID, b.ID, err)
	}
	return nil
}

// pair is a directory's place in two trees, as the directories above name it; a zero oid is "not there".
type pair struct {
	path     string
	old, new tree.Entry
}

func (p pair) oids(list []tree.OID) []tree.OID {
	for _, e := range []tree.Entry{p.old, p.new} {
		if !e.OID.IsZero() {
			list = append(list, e.OID)
		}
	}
	return list
}

// same tells whether two entries are one. The sha256 says it: two contents might share an oid.
func same(a, b *tree.Entry) bool { return a.Mode == b.Mode && a.OID == b.OID && a.SHA256 == b.SHA256 }

// How much a comparison or a walk looks at: a tree of a few hundred bytes can name itself so often that no disk could
// hold it checked out.
const (
	maxDirs  = 1_000_000
	maxFiles = 2_000_000
)

func tooLarge(what string) error {
	return fault.New(fault.Refused, "the tree holds more than "+what, "deploy a part of it: give the target a path")
}

// diffSorted compares a directory that is loaded, and all below it, in the order of the paths.
func (n *Nodes) diffSorted(ctx context.Context, p pair, dirs *int, fn func(Change) error) error {
	steps, err := n.diffPair(p)
	if err != nil {
		return err
	}
	var oids []tree.OID
	for _, s := range steps {
		if s.below != nil {
			oids = s.below.oids(oids)
			*dirs++
		}
	}
	if *dirs > maxDirs {
		return tooLarge(fmt.Sprintf("%d directories", maxDirs))
	}
	if err := n.Load(ctx, oids); err != nil {
		return err
	}
	for _, s := range steps {
		if s.below != nil {
			err = n.diffSorted(ctx, *s.below, dirs, fn)
		} else {
			err = fn(s.Change)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Diff calls fn for each file, link or submodule that differs between two trees (a zero oid is the empty one), a level
// after the other: that takes fewer requests than their order would. Equal directories are not looked into. Both trees
// must be known or in etcd.
func (n *Nodes) Diff(ctx context.Context, old, new tree.Entry, fn func(Change)) error {
	if old.OID == new.OID {
		return nil
	}
	dirs, files := 0, 0
	for level := []pair{{old: old, new: new}}; len(level) > 0; {
		dirs += len(level)
		var oids []tree.OID
		for _, p := range level {
			oids = p.oids(oids)
		}
		if err := n.Load(ctx, oids); err != nil {
			return err
		}
		var next []pair
		for _, p := range level {
			steps, err := n.diffPair(p)
			if err != nil {
				return err
			}
			for _, s := range steps {
				if s.below != nil {
					next = append(next, *s.below)
					continue
				}
				files++
				fn(s.Change)
			}
			switch {
			case dirs+len(next) > maxDirs:
				return tooLarge(fmt.Sprintf("%d directories", maxDirs))
			case files > maxFiles:
				return tooLarge(fmt.Sprintf("%d files", maxFiles))
			}
		}
		level = next
	}
	return nil
}

// step is one thing that differs in a directory: a Change, or a directory to look into.
type step struct {
	Change
	below *pair
}

// diffPair compares one directory and gives what differs in it, in git's order, which is that of the whole paths.
func (n *Nodes) diffPair(p pair) ([]step, error) {
	var old, new []tree.Entry
	var err error
	if !p.old.OID.IsZero() {
		old, err = n.entries(p.old)
	}
	if !p.new.OID.IsZero() && err == nil {
		new, err = n.entries(p.new)
	}
	if err != nil {
		return nil, err
	}
	var steps []step
	for len(old) > 0 || len(new) > 0 {
		var a, b *tree.Entry
		switch order := inOrder(old, new); {
		case order < 0:
			a, old = &old[0], old[1:]
		case order > 0:
			b, new = &new[0], new[1:]
		default:
			a, b, old, new = &old[0], &new[0], old[1:], new[1:]
			if same(a, b) {
				continue
			}
		}
		steps = append(steps, stepOf(p.path, a, b))
	}
	return steps, nil
}

// inOrder tells which list's first entry comes first; 0: both have it.
func inOrder(old, new []tree.Entry) int {
	switch {
	case len(old) == 0:
		return 1
	case len(new) == 0:
		return -1
	}
	key := func(e *tree.Entry) string {
		if e.Mode == dirMode {
			return e.Name + "/"
		}
		return e.Name
	}
	return strings.Compare(key(&old[0]), key(&new[0]))
}

// stepOf makes a step of an entry of the directory at where in the old tree and in the new: either may be nil, and
// both are directories or none is.
func stepOf(where string, a, b *tree.Entry) step {
	one := a
	if one == nil {
		one = b
	}
	at := path.Join(where, one.Name)
	if one.Mode != dirMode {
		return step{Change: Change{Path: at, Old: a, New: b}}
	}
	below := &pair{path: at}
	if a != nil {
		below.old = *a
	}
	if b != nil {
		below.new = *b
	}
	return step{below: below}
}
