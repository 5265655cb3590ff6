package store

import (
	"context"
	"fmt"
	"iter"

	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// NewTolerantCommits is NewCommits for looking at all of a chain: a stored commit that is not what its key says ends
// nothing, and Commit tells it.
func (c *Chain) NewTolerantCommits() *Commits {
	cs := c.NewCommits()
	cs.wrong = map[tree.OID]error{}
	return cs
}

// Commit gives a commit that was read. One that is not stored, or is another one, is a fault.Corrupt.
func (cs *Commits) Commit(oid tree.OID) (*Commit, error) {
	switch c := cs.known[oid]; {
	case c != nil:
		return c, nil
	case cs.wrong[oid] != nil:
		return nil, cs.wrong[oid]
	}
	return nil, record.Missing(cs.chain.ObjectKey(oid))
}

// IsKnown tells whether a commit was read.
func (cs *Commits) IsKnown(oid tree.OID) bool { return cs.known[oid] != nil }

// Known gives the commits that were read.
func (cs *Commits) Known() iter.Seq[tree.OID] {
	return func(yield func(tree.OID) bool) {
		for oid, c := range cs.known {
			if c != nil && !yield(oid) {
				return
			}
		}
	}
}

// Prefetch reads what Brought and Ancestry need of some deploys, many commits at a time.
func (cs *Commits) Prefetch(ctx context.Context, deploys []*record.Deploy) error {
	var edge []tree.OID
	all, previous := map[tree.OID]bool{}, map[tree.OID]bool{}
	own := map[tree.OID]bool{} // whether parents of a deploy's own commit are asked for
	add := func(oid tree.OID) {
		if !all[oid] {
			all[oid] = true
			edge = append(edge, oid)
		}
	}
	for _, d := range deploys {
		if d.Record == nil || d.Hash.IsTree() {
			continue
		}
		oid := d.Hash.OID()
		add(oid)
		if own[oid] = own[oid] || storesAll(d.Record); storesAll(d.Record) {
			previous[d.Record.PreviousHash.OID()] = true
		}
	}
	for len(edge) > 0 {
		if err := cs.load(ctx, edge); err != nil {
			return err
		}
		loaded := edge
		edge = nil
		for _, oid := range loaded {
			wanted, isOwn := own[oid]
			if c := cs.known[oid]; c != nil && (wanted || !isOwn) {
				for _, parent := range c.Parents {
					if !previous[parent] {
						add(parent)
					}
				}
			}
		}
	}
	return nil
}

// Ancestry tells whether a deploy's commit leads back to the one of the deploy before, by commits that are stored. Of a
// first or forced deploy, a rollback and a plain directory it is not known: only their own commits are stored. A
// commit that is missing on the way, and one that does not lead there, are fault.Corrupt.
func (cs *Commits) Ancestry(ctx context.Context, d *record.Deploy) (known bool, err error) {
	r := d.Record
	if r == nil || d.Hash.IsTree() || !storesAll(r) || d.Hash == r.PreviousHash {
		return false, nil
	}
	brought, more, err := cs.Brought(ctx, d)
	if err != nil {
		return false, err
	}
	previous, leads := r.PreviousHash.OID(), false
	among := map[tree.OID]bool{}
	for _, c := range brought {
		among[c.OID] = true
	}
	var unknown []tree.OID
	for _, c := range brought {
		for _, parent := range c.Parents {
			switch {
			case parent == previous:
				leads = true
			case cs.wrong[parent] != nil:
				return false, cs.wrong[parent]
			case !among[parent] && cs.known[parent] == nil:
				unknown = append(unknown, parent)
			}
		}
	}
	key := cs.chain.DeployKey(d.ID, record.KeyRecord)
	switch {
	case more > 0 && len(unknown) == 1:
		return false, record.Missing(cs.chain.ObjectKey(unknown[0]))
	case more > 0 && len(unknown) > 1:
		return false, record.Corrupt(cs.chain.ObjectKey(unknown[0]),
			fmt.Sprintf("it is missing, or %s: deploy %d brought %s, and %d are there",
				others(unknown[1:]), d.ID, record.CountCommits(r.Commits), len(brought)))
	case more > 0:
		return false, record.Corrupt(key, fmt.Sprintf("it says that it brought %s, and its commit leads to %d",
			record.CountCommits(r.Commits), len(brought)))
	case !leads && len(unknown) > 0:
		return false, nil
	case !leads:
		return false, record.Corrupt(key, fmt.Sprintf("its commit %s does not lead back to %s, and it is not forced",
			d.Hash.Short(), r.PreviousHash.Short()))
	}
	return true, nil
}

func others(oids []tree.OID) string {
	if len(oids) == 1 {
		return "object " + oids[0].String()
	}
	return "one of " + text.Count(len(oids), "other object")
}
