package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// Touch tells whether a deploy changed what is at a path.
type Touch int

// What is known of it. Of damaged deploys it is not asked: they are Untouched, and the next sound one below counts.
const (
	Untouched Touch = iota
	Touched
	Expired // gc has taken directories that would tell
	Unknown // directories that would tell are missing or damaged
)

const (
	// firstWindow and window are how many deploys are looked at together: the first ones are to be told soon.
	firstWindow, window = 64, 1024
	// nodesTogether is how many bytes of nodes are read together, unless one has more.
	nodesTogether = 1 << 20
)

// History tells which deploys changed what is at a path. It reads the directories that lead to the path, level by
// level over many deploys, and each only once. Every one is checked.
type History struct {
	chain  *Chain
	path   []string
	steps  []map[dirText]step // for each level: where its directories lead
	waits  []*record.Deploy   // from the newest down
	places []spot             // of those that are known
	window int
	tell   func(*record.Deploy, Touch) error
	damage error // the first that was met
}

// dirText is a directory by its node's text.
type dirText struct {
	oid    tree.OID
	sha256 tree.SHA256
}

// step is where a directory leads: to the entry of a name, or nowhere.
type step struct {
	entry tree.Entry
	there bool
	err   error // the directory cannot be read
}

// spot is what a deploy has at the path.
type spot struct {
	entry tree.Entry
	there bool
	err   error // entry is a directory on the way, and cannot be read
	depth int   // how many names lead to entry
	skip  bool  // the deploy is damaged
}

// NewHistory gives a History of a path: raw bytes, elements joined with "/", and "" is the whole tree. tell gets the
// deploys that are added, in their order.
func (c *Chain) NewHistory(path string, tell func(*record.Deploy, Touch) error) *History {
	h := &History{chain: c, window: firstWindow, tell: tell}
	if path != "" {
		h.path = strings.Split(path, "/")
	}
	for range h.path {
		h.steps = append(h.steps, map[dirText]step{})
	}
	return h
}

// Add takes in the next deploy, from the newest down. Its errors are tell's, and those of reading.
func (h *History) Add(ctx context.Context, d *record.Deploy) error {
	h.waits = append(h.waits, d)
	if len(h.waits) <= h.window || d.Damage != nil {
		return nil
	}
	h.window = window
	return h.flush(ctx, false)
}

// End tells the rest.
func (h *History) End(ctx context.Context) error { return h.flush(ctx, true) }

// Damage is the first error of those directories, on the way to the path, that are missing or damaged and were not
// taken by gc, fault.Corrupt; nil if there was none.
func (h *History) Damage() error { return h.damage }

// flush tells of the deploys that wait; of the last one only if there is none below it.
func (h *History) flush(ctx context.Context, last bool) error {
	if err := h.find(ctx); err != nil {
		return err
	}
	expired := record.ID(0)
	if slices.ContainsFunc(h.places, func(p spot) bool { return p.err != nil }) {
		var err error
		if expired, err = h.chain.Expired(ctx); err != nil {
			return err
		}
	}
	told := len(h.waits)
	if !last {
		told--
	}
	for i, d := range h.waits[:told] {
		if err := h.tell(d, h.touch(i, expired)); err != nil {
			return err
		}
	}
	h.waits, h.places = slices.Clone(h.waits[told:]), slices.Clone(h.places[told:])
	return nil
}

// touch compares the i-th deploy that waits with the next sound one below.
func (h *History) touch(i int, expired record.ID) Touch {
	at, below, lower := h.places[i], spot{}, record.ID(0)
	for j, p := range h.places[i+1:] {
		if !p.skip {
			below, lower = p, h.waits[i+1+j].ID
			break
		}
	}
	switch {
	case at.skip || at.same(below):
		return Untouched
	case at.err == nil && below.err == nil:
		return Touched
	}
	touch := Expired
	for _, p := range []struct {
		spot
		id record.ID
	}{{at, h.waits[i].ID}, {below, lower}} {
		if p.err != nil && (p.id > expired || !errors.Is(p.err, record.ErrMissing)) {
			touch = Unknown
			if h.damage == nil {
				h.damage = fmt.Errorf("read deploy %d: %w", p.id, p.err)
			}
		}
	}
	return touch
}

// same tells whether two deploys have the same at the path: also if that cannot be read, but for the same directory.
func (p spot) same(o spot) bool {
	if p.err != nil || o.err != nil {
		return p.err != nil && o.err != nil && p.depth == o.depth && !p.entry.OID.IsZero() && same(&p.entry, &o.entry)
	}
	return p.there == o.there && (!p.there || same(&p.entry, &o.entry))
}

// find finds the path in those deploys that wait and have no place yet.
func (h *History) find(ctx context.Context) error {
	first := len(h.places)
	for _, d := range h.waits[first:] {
		p, err := h.start(ctx, d)
		if err != nil {
			return err
		}
		h.places = append(h.places, p)
	}
	for level, name := range h.path {
		on := func(p spot) bool {
			return p.there && p.err == nil && p.depth == level && p.entry.Mode == dirMode
		}
		if err := h.read(ctx, h.places[first:], on, level, name); err != nil {
			return err
		}
		for i := first; i < len(h.places); i++ {
			p := &h.places[i]
			switch {
			case on(*p):
				s := h.steps[level][textOf(&p.entry)]
				if p.err = s.err; s.err == nil {
					p.entry, p.there, p.depth = s.entry, s.there, level+1
				}
			case p.depth == level && p.err == nil:
				p.there = false // a file is in the way
			}
		}
	}
	return nil
}

// start is where the way to the path begins: at a deploy's root. Of a foreign deploy all of it is walked here.
func (h *History) start(ctx context.Context, d *record.Deploy) (spot, error) {
	switch {
	case d.Damage != nil:
		return spot{skip: true}, nil
	case d.Record != nil:
		return spot{entry: d.Record.Root(), there: true}, nil
	}
	nodes, p := h.chain.NewNodes(), spot{there: true, depth: len(h.path)}
	root, err := nodes.root(ctx, d)
	if err == nil {
		p.entry, err = nodes.find(ctx, root, strings.Join(h.path, "/"))
	}
	var failed *fault.Error
	switch {
	case errors.As(err, &failed) && failed.Reason == ReasonNoPath:
		return spot{depth: p.depth}, nil
	case fault.Is(err, fault.Corrupt):
		// Without an oid it is like no other deploy.
		p.err = err
	case err != nil:
		return spot{}, err
	}
	return p, nil
}

func textOf(e *tree.Entry) dirText { return dirText{e.OID, e.SHA256} }

// read takes the steps from directories of one level that were not taken yet.
func (h *History) read(ctx context.Context, places []spot, on func(spot) bool, level int, name string) error {
	taken := h.steps[level]
	var dirs []*tree.Entry
	for i := range places {
		if !on(places[i]) {
			continue
		}
		dir := places[i].entry
		if _, ok := taken[textOf(&dir)]; !ok {
			taken[textOf(&dir)] = step{}
			dirs = append(dirs, &dir)
		}
	}
	batches := nodeBatches(dirs)
	found := make([][]step, len(batches))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for i, batch := range batches {
		group.Go(func() (err error) {
			found[i], err = h.chain.stepsTo(ctx, batch, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("read trees of %s: %w", h.chain.ns, err)
	}
	for i, batch := range batches {
		for j, dir := range batch {
			taken[textOf(dir)] = found[i][j]
		}
	}
	return nil
}

// nodeBatches parts directories into such as are read together.
func nodeBatches(dirs []*tree.Entry) (batches [][]*tree.Entry) {
	bytes := int64(0)
	for _, dir := range dirs {
		last := len(batches) - 1
		if bytes += dir.Size; last < 0 || bytes > nodesTogether || len(batches[last]) == MaxQueries {
			batches, bytes, last = append(batches, nil), dir.Size, last+1
		}
		batches[last] = append(batches[last], dir)
	}
	return batches
}

// stepsTo reads directories together, and finds a name in each. They are not kept.
func (c *Chain) stepsTo(ctx context.Context, dirs []*tree.Entry, name string) ([]step, error) {
	nodes, steps := c.NewNodes(), make([]step, len(dirs))
	if err := nodes.load(ctx, dirs); err != nil {
		return nil, err
	}
	for i, dir := range dirs {
		entries, err := nodes.Entries(dir)
		if err != nil {
			steps[i].err = err
			continue
		}
		at := slices.IndexFunc(entries, func(e tree.Entry) bool { return e.Name == name })
		if at >= 0 {
			steps[i] = step{entry: entries[at], there: true}
			steps[i].entry.Name = name // of its own: the entry's keeps the node in memory
		}
	}
	return steps, nil
}
