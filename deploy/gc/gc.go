package gc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/text"
)

// What is kept where nothing else is asked for.
const (
	DefaultKeepLast   = 100
	DefaultKeepWithin = 90 * 24 * time.Hour
)

// Config is how to collect.
type Config struct {
	Store *deploy.Store
	Who   record.Holder // of the chain's lock
	// Deploys that are kept: the newest KeepLast (at least 1), and all that were published within KeepWithin. The head,
	// what is pinned, and what the head's rollout still needs are kept anyway.
	KeepLast   int
	KeepWithin time.Duration
	DryRun     bool                // delete nothing
	Gone       func(Gone)          // is told of each deploy that loses content, the oldest first; may be nil
	Progress   func(text.Progress) // may be nil
}

// Gone is what goes with a deploy, or, with Deploy 0, what refused and dead pushes left.
type Gone struct {
	Deploy record.ID `json:"deploy"`
	Keys   int       `json:"keys"`
	Bytes  int64     `json:"bytes"` // of values
}

// Result is what was done, or with DryRun would be.
type Result struct {
	Kept    int         // deploys
	Pinned  []record.ID // of these, the newest first
	Deploys int         // that lose content
	Keys    int         // deleted
	Bytes   int64
}

// minAge is how old the leftovers of refused and dead pushes are before they go: a push may be tried again.
// foreignAge is how old content in mgmt's namespaces must be: mgmt uploads it before it publishes, without a lock.
const (
	minAge     = 24 * time.Hour
	foreignAge = time.Hour
)

// Run deletes what no kept deploy of a chain needs. With an error, Result tells what was done until then.
func Run(ctx context.Context, cfg Config, ns record.Namespace) (*Result, error) {
	c := &collector{
		cfg: cfg, ns: ns, mgmt: ns.IsMgmt(), chain: cfg.Store.Chain(ns), now: time.Now(), result: new(Result),
		nodes: map[oid]*thing{}, contents: map[sum]*thing{}, blocks: map[string]*thing{}, kept: map[oid]bool{},
		marked: map[record.ID]bool{},
	}
	c.cfg.KeepLast = max(1, cfg.KeepLast)
	err := c.run(ctx)
	if err != nil {
		err = fmt.Errorf("gc of %s: %w", ns, err)
	}
	return c.result, err
}

// collector is one run.
type collector struct {
	cfg    Config
	ns     record.Namespace
	mgmt   bool // mgmt may write there, too
	chain  *deploy.Chain
	now    time.Time
	result *Result

	nodes    map[oid]*thing
	contents map[sum]*thing
	blocks   map[string]*thing // by key
	since    int64             // superblocks that were put later are not in blocks

	head    record.ID // up to here deploys are marked
	expired record.ID // of earlier runs
	pins    map[record.ID]bool
	rollout map[record.ID]bool // what nodes that wait for their ring run, and what they may go back to
	marked  map[record.ID]bool // deploys
	kept    map[oid]bool       // nodes that were marked, and need not be looked at again

	order []*thing  // what is to be deleted, from the top down
	total int64     // bytes of that
	until record.ID // the newest deploy that loses content
}

func (c *collector) run(ctx context.Context) error {
	if err := c.list(ctx); err != nil {
		return err
	}
	runs, _, err := c.chain.Runs(ctx)
	if err != nil {
		return err
	}
	chosen, err := c.choose(ctx, runs)
	if err == nil && c.head > 0 && !c.cfg.DryRun {
		err = c.chain.MarkRun(ctx) // for later runs
	}
	if err != nil {
		return err
	}
	c.tell("marking")
	for _, d := range chosen.keep {
		if err := c.mark(ctx, d); err != nil {
			return err
		}
	}
	if err := c.markYoung(ctx, c.ageLimit(runs, chosen)); err != nil {
		return err
	}
	if err := c.plan(ctx, chosen.expire); err != nil {
		return err
	}
	if c.cfg.DryRun {
		return nil
	}
	return c.sweep(ctx)
}

// chosen says of a chain's deploys which are kept.
type chosen struct {
	keep, expire []*record.Deploy // the newest first
	records      record.Runs      // revisions and times of records
}

// choose reads the chain. Times never decrease along it: a deploy without a record is not younger than the next one
// with one, nor than the first run that has seen it.
func (c *collector) choose(ctx context.Context, runs record.Runs) (*chosen, error) {
	if err := c.readPins(ctx); err != nil {
		return nil, err
	}
	state, err := c.chain.State(ctx)
	if err != nil {
		return nil, err
	}
	c.rollout = setOf(state.Rollout.Keeps())
	all, at, byPin := new(chosen), c.now, 0
	err = c.chain.Log(ctx, 0, func(d *record.Deploy) error {
		c.head = max(c.head, d.ID)
		c.mgmt = c.mgmt || d.Record == nil || d.Record.Frontend.IsMgmt() // a damaged one may have been mgmt's
		if d.Record != nil {
			all.records = append(all.records, record.Run{Revision: d.Revisions[record.KeyRecord], Time: d.Record.Time})
			at = earlier(at, d.Record.Time)
		} else {
			at = earlier(at, runs.By(slices.Max(d.Revisions[:]), c.now))
		}
		if c.pins[d.ID] {
			c.result.Pinned = append(c.result.Pinned, d.ID)
		}
		switch {
		case len(all.keep)-byPin < c.cfg.KeepLast, c.now.Sub(at) < c.cfg.KeepWithin:
			all.keep = append(all.keep, d)
		case c.pins[d.ID], c.rollout[d.ID]:
			all.keep = append(all.keep, d)
			byPin++
		default:
			all.expire = append(all.expire, d)
		}
		return nil
	})
	c.result.Kept = len(all.keep)
	return all, err
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (c *collector) readPins(ctx context.Context) error {
	pins, err := c.chain.Pins(ctx)
	if err == nil {
		c.expired, err = c.chain.Expired(ctx)
	}
	if err != nil {
		return err
	}
	c.pins = setOf(pins)
	return nil
}

func setOf(ids []record.ID) map[record.ID]bool {
	set := map[record.ID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// ageLimit is the revision up to which content goes that is not marked. What came before a deploy that expires came for
// it or for an earlier one; what came later is a leftover. For mgmt's hour the clocks of those who deploy do not count.
func (c *collector) ageLimit(runs record.Runs, all *chosen) int64 {
	day := c.now.Add(-minAge)
	limit := max(runs.Before(day), all.records.Before(day))
	if len(all.expire) > 0 {
		limit = max(limit, slices.Max(all.expire[0].Revisions[:]))
	}
	if c.mgmt {
		limit = min(limit, runs.Before(c.now.Add(-foreignAge)))
	}
	return limit
}
