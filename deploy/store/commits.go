package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Commit is a commit that a chain has stored.
type Commit struct {
	OID     tree.OID
	Parents []tree.OID
	Author  string    // "Name <mail>"; "" if the commit has none
	Time    time.Time // of the author, in that one's zone; zero if the commit has none
	Subject string    // as record.SubjectOf
	Tree    tree.OID  // zero if it names none
	signed  []byte    // the commit itself, if it is signed
}

// Signed cuts the commit into what is signed and the signature, nil if it has none.
func (c *Commit) Signed() (signed, signature []byte) {
	if c.signed == nil {
		return nil, nil
	}
	return tree.SignedCommit(c.signed, c.OID.Format())
}

// Commits reads a chain's commits and keeps them, each is read once.
type Commits struct {
	chain *Chain
	known map[tree.OID]*Commit // nil: it is not stored
	wrong map[tree.OID]error   // what is wrong with one that is stored, and not known for it; nil: it ends the call
}

// NewCommits gives Commits that know none yet.
func (c *Chain) NewCommits() *Commits { return &Commits{c, map[tree.OID]*Commit{}, nil} }

// commitsTogether is how many commits are read together: nothing bounds one but etcd's request.
const commitsTogether = 32

// load reads those commits that are not known yet. One that is not that commit is fault.Corrupt.
func (cs *Commits) load(ctx context.Context, oids []tree.OID) error {
	var missing []tree.OID
	for _, oid := range oids {
		if _, ok := cs.known[oid]; !ok {
			cs.known[oid] = nil
			missing = append(missing, oid)
		}
	}
	found, wrong := make([]*Commit, len(missing)), make([]error, len(missing))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for start := 0; start < len(missing); start += commitsTogether {
		group.Go(func() error {
			some := missing[start:min(start+commitsTogether, len(missing))]
			keys := make([]string, len(some))
			for i, oid := range some {
				keys[i] = cs.chain.ObjectKey(oid)
			}
			values, err := cs.chain.Values(ctx, keys...)
			for i := 0; err == nil && i < len(values); i++ {
				found[start+i], wrong[start+i] = parseCommit(some[i], values[i])
				if cs.wrong == nil {
					err = wrong[start+i]
				}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, oid := range missing {
		cs.known[oid] = found[i]
		if wrong[i] != nil {
			cs.wrong[oid] = wrong[i]
		}
	}
	return nil
}

// parseCommit reads a commit; nil if it is not stored.
func parseCommit(oid tree.OID, value KeyValue) (*Commit, error) {
	if value.Revision == 0 {
		return nil, nil //nolint:nilnil // not stored, which is no error
	}
	data := tree.ParseObject(value.Value, "commit", oid)
	if data == nil {
		return nil, record.Corrupt(value.Key, "it is not the commit of that name")
	}
	parsed, _ := tree.ParseCommit(data, oid.Format()) // a zero tree is told, and so are parents that lead nowhere
	c := &Commit{OID: oid, Tree: parsed.Tree, Parents: parsed.Parents, Subject: record.SubjectOf(parsed.Message)}
	if parsed.Author != "" {
		c.Author, c.Time = parseAuthor(parsed.Author)
	}
	if _, signature := tree.SignedCommit(data, oid.Format()); signature != nil {
		c.signed = data
	}
	return c, nil
}

// parseAuthor reads "Name <mail> SECONDS ZONE" (git-commit-tree(1)).
func parseAuthor(line string) (author string, at time.Time) {
	end := strings.LastIndexByte(line, '>')
	author = record.Shorten(line[:end+1])
	words := strings.Fields(line[end+1:])
	if len(words) != 2 {
		return author, time.Time{}
	}
	seconds, err := strconv.ParseInt(words[0], 10, 64)
	zone, zoneErr := time.Parse("-0700", words[1])
	if err != nil || zoneErr != nil || seconds < 0 || seconds > maxSeconds {
		return author, time.Time{}
	}
	return author, time.Unix(seconds, 0).In(zone.Location())
}

// maxSeconds is the end of the year 9999: JSON takes no later time.
const maxSeconds = 253402300799 - 86400

// Brought gives the commits that a deploy brought, from the newest down: those that lead to its hash, and not to the
// one before. Its own commit is among them. more is how many it brought besides, which are not stored: a first or
// forced deploy and a rollback store only their own. Below 0 so many of those that are given were there before: what
// tells which is not stored.
func (cs *Commits) Brought(ctx context.Context, d *record.Deploy) (brought []*Commit, more int, err error) {
	if d.Record == nil || d.Hash.IsTree() {
		return nil, 0, nil
	}
	r, own := d.Record, d.Hash.OID()
	if err := cs.load(ctx, []tree.OID{own}); err != nil {
		return nil, 0, err
	}
	switch {
	case cs.known[own] == nil:
		return nil, r.Commits, nil
	case !storesAll(r):
		return []*Commit{cs.known[own]}, max(r.Commits-1, 0), nil
	}
	brought, err = cs.between(ctx, own, r.PreviousHash.OID(), r.Commits)
	return brought, r.Commits - len(brought), err
}

// storesAll tells whether all commits that a deploy brought are stored, and not only its own.
func storesAll(r *record.Record) bool {
	return !r.Forced && r.Kind != record.KindRollback && r.PreviousHash != "" && !r.PreviousHash.IsTree() &&
		r.Commits <= record.MaxCounted
}

// between gives the commits that lead to one and not to another, of which there should be count. It walks down from
// both, a step at a time, until that is clear.
func (cs *Commits) between(ctx context.Context, from, without tree.OID, count int) ([]*Commit, error) {
	in, out := newReach(from), newReach(without)
	for {
		if err := cs.load(ctx, in.edge); err != nil {
			return nil, err
		}
		in.step(cs, out.seen)
		var between []*Commit
		for _, oid := range in.order {
			if c := cs.known[oid]; c != nil && !out.seen[oid] {
				between = append(between, c)
			}
		}
		if len(in.edge) == 0 && (len(between) <= count || len(out.edge) == 0) {
			slices.SortStableFunc(between, func(a, b *Commit) int { return b.Time.Compare(a.Time) })
			return between, nil
		}
		if err := cs.load(ctx, out.edge); err != nil {
			return nil, err
		}
		out.step(cs, nil)
	}
}

// reach is what was found on a walk from commits to their parents.
type reach struct {
	seen  map[tree.OID]bool
	order []tree.OID
	edge  []tree.OID // whose parents were not looked at
}

func newReach(from ...tree.OID) *reach {
	r := &reach{seen: map[tree.OID]bool{}}
	r.add(from)
	return r
}

func (r *reach) add(oids []tree.OID) {
	for _, oid := range oids {
		if !r.seen[oid] {
			r.seen[oid] = true
			r.order, r.edge = append(r.order, oid), append(r.edge, oid)
		}
	}
}

// step goes from the edge to the parents, but not past commits of stop. The edge is loaded.
func (r *reach) step(cs *Commits, stop map[tree.OID]bool) {
	edge := r.edge
	r.edge = nil
	for _, oid := range edge {
		if c := cs.known[oid]; c != nil && !stop[oid] {
			r.add(c.Parents)
		}
	}
	r.edge = slices.DeleteFunc(r.edge, func(oid tree.OID) bool { return stop[oid] })
}

// ReasonNoCommit: no deploy is known to have brought a commit. About: the namespace, the commit's digits.
const ReasonNoCommit fault.Reason = "commit-not-brought"

// FirstWith finds the deploy that was the first with a commit in it, of which the first digits are given, or all.
// earlier are deploys below it that may have had it too: what leads to their commit is not stored. each gets all
// deploys, from the newest down. Without such a deploy the error is ReasonNoCommit, without any ErrEmpty.
func (c *Chain) FirstWith(ctx context.Context, digits string, each func(*record.Deploy) error) (
	first *record.Deploy, earlier []record.ID, err error,
) {
	var deploys []*record.Deploy // from the newest down
	err = c.Log(ctx, 0, func(d *record.Deploy) error {
		deploys = append(deploys, d)
		return each(d)
	})
	if err != nil {
		return nil, nil, err
	}
	if len(deploys) == 0 {
		return nil, nil, fmt.Errorf("find a commit in %s: %w", c.ns, ErrEmpty)
	}
	wanted, err := c.resolveCommit(ctx, digits, deploys)
	if err != nil {
		return nil, nil, err
	}
	cs, all := c.NewCommits(), newReach()
	for _, d := range deploys {
		if d.Hash != "" && !d.Hash.IsTree() {
			all.add([]tree.OID{d.Hash.OID()})
		}
	}
	for len(all.edge) > 0 {
		if err := cs.load(ctx, all.edge); err != nil {
			return nil, nil, err
		}
		all.step(cs, nil)
	}
	slices.Reverse(deploys)
	at := cs.firstWith(deploys, wanted)
	if at < 0 {
		return nil, nil, c.noCommit(digits)
	}
	first = deploys[at]
	brought, more, err := cs.Brought(ctx, first)
	if err != nil {
		return nil, nil, err
	}
	without := newReach()
	if len(brought) > 0 && storesAll(first.Record) && more == 0 { // it says all that the one before has not
		without.add([]tree.OID{first.Record.PreviousHash.OID()})
		for len(without.edge) > 0 {
			without.step(cs, nil)
		}
	}
	return first, cs.unclear(deploys[:at], without.seen), nil
}

func (c *Chain) noCommit(digits string) error {
	return &fault.Error{
		Kind: fault.Failed, Reason: ReasonNoCommit, About: []string{string(c.ns), digits},
		What: fmt.Sprintf("no deploy of %s is known to have brought %s", c.ns, text.Clip(digits)),
	}
}

// resolveCommit finds the commit whose first digits are given, among those that are stored or were deployed.
func (c *Chain) resolveCommit(ctx context.Context, digits string, deploys []*record.Deploy) (tree.OID, error) {
	found := map[tree.OID]bool{}
	for _, d := range deploys {
		if strings.HasPrefix(string(d.Hash), digits) {
			found[d.Hash.OID()] = true
		}
	}
	prefix := c.Key("object/")
	keys, _, err := c.reader.Read(ctx, 0, []Query{{Key: prefix + digits, NoValue: true, First: commitsTogether}})
	if err != nil {
		return tree.OID{}, fmt.Errorf("read commits of %s: %w", c.ns, err)
	}
	cs := c.NewCommits()
	for _, kv := range keys[0] {
		oid, err := tree.ParseOID(strings.TrimPrefix(kv.Key, prefix))
		if err != nil {
			continue
		}
		err = cs.load(ctx, []tree.OID{oid})
		switch {
		case err == nil:
			found[oid] = true
		case !fault.Is(err, fault.Corrupt): // it is a tree or a tag, or damaged
			return oid, err
		}
	}
	var all []tree.OID
	for oid := range found {
		all = append(all, oid)
	}
	switch len(all) {
	case 0:
		return tree.OID{}, c.noCommit(digits)
	case 1:
		return all[0], nil
	}
	return tree.OID{}, fault.New(fault.Failed,
		fmt.Sprintf("%s is not clear in %s: %s begin with it", digits, c.ns, text.Count(len(all), "commit")),
		"give more digits")
}

// firstWith gives the index of the first deploy, from the oldest up, whose commit leads to one; -1 if none does.
func (cs *Commits) firstWith(deploys []*record.Deploy, wanted tree.OID) int {
	seen := newReach()
	for i, d := range deploys {
		if d.Hash == "" || d.Hash.IsTree() {
			continue
		}
		for seen.add([]tree.OID{d.Hash.OID()}); len(seen.edge) > 0; {
			seen.step(cs, nil)
		}
		if seen.seen[wanted] {
			return i
		}
	}
	return -1
}

// unclear gives those of some deploys, from the oldest up, of whose commits some are not stored, so that they may have
// had any. without are commits that are known not to lead to what is asked for.
func (cs *Commits) unclear(deploys []*record.Deploy, without map[tree.OID]bool) (ids []record.ID) {
	walked := newReach()
	isUnknown := func(oid tree.OID) bool { return cs.known[oid] == nil && !without[oid] }
	for _, d := range deploys {
		if d.Damage != nil || d.Hash == "" {
			ids = append(ids, d.ID)
			continue
		}
		if d.Hash.IsTree() || without[d.Hash.OID()] {
			continue
		}
		before := len(walked.order)
		for walked.add([]tree.OID{d.Hash.OID()}); len(walked.edge) > 0; {
			walked.step(cs, without)
		}
		if slices.ContainsFunc(walked.order[before:], isUnknown) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}
