package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/text"
)

// Hold is the value of NS/refship/hold: who keeps the chain from going on, and why (JSON).
type Hold struct {
	User   string    `json:"user"`
	Host   string    `json:"host"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// parseHold reads a hold: whatever is there holds the chain, and what is no JSON is its reason.
func parseHold(value []byte) *Hold {
	h := new(Hold)
	if err := json.Unmarshal(value, h); err != nil || *h == (Hold{}) {
		return &Hold{Reason: text.Printable(shorten(string(value)))}
	}
	return h
}

// String says who holds since when, and why, for a sentence: "by ops (on host) since 2026-01-02T03:04:05Z, 12 minutes
// ago: login is broken". What is not known is left out.
func (h *Hold) String() string {
	words := ""
	if h.User != "" {
		words = " by " + text.Printable(shorten(h.User))
	}
	if h.Host != "" {
		words += " (on " + text.Printable(shorten(h.Host)) + ")"
	}
	if !h.Since.IsZero() {
		words += " since " + h.Since.UTC().Format(time.RFC3339) + ", " + text.Age(time.Since(h.Since))
	}
	if h.Reason != "" {
		words += ": " + text.Printable(shorten(h.Reason))
	}
	return words
}

// State is what a chain's keys say at one revision.
type State struct {
	Head *Deploy // nil: no deploy yet
	Hold *Hold   // nil: not held
	Lock *Holder // nil: nobody deploys right now
}

// State reads head, hold and lock.
func (c *Chain) State(ctx context.Context) (*State, error) {
	return c.state(ctx, func(*marks) error { return nil })
}

// marks are what stands beside the deploys.
type marks struct {
	revision int64 // that they were read at
	hint     ID    // where the head may be; 0: no idea
	hold     *Hold
	lock     *Holder
}

// maxCompacted is how often a revision may be gone between two requests: etcd compacts a few times an hour.
const maxCompacted = 10

// state reads the marks and then, if pass has nothing against it, the head at their revision.
func (c *Chain) state(ctx context.Context, pass func(*marks) error) (*State, error) {
	for try := 1; ; try++ {
		m, err := c.marks(ctx)
		if err != nil {
			return nil, err
		}
		if err := pass(m); err != nil {
			return nil, err
		}
		head, err := c.headAt(ctx, m.revision, m.hint)
		switch {
		case err == nil:
			return &State{Head: head, Hold: m.hold, Lock: m.lock}, nil
		case !errors.Is(err, rpctypes.ErrCompacted) || try == maxCompacted:
			return nil, err
		} // the revision that the first answer named is gone already: ask again
	}
}

func (c *Chain) marks(ctx context.Context) (*marks, error) {
	resp, err := c.kv.Txn(ctx).Then(clientv3.OpGet(c.own("head")), clientv3.OpGet(c.own("hold")), clientv3.OpGet(c.own("lock"))).Commit()
	if err != nil {
		return nil, fmt.Errorf("read head of %s: %w", c.ns, etcd.Classify(err))
	}
	at := func(i int) *mvccpb.KeyValue {
		if kvs := resp.Responses[i].GetResponseRange().Kvs; len(kvs) == 1 {
			return kvs[0]
		}
		return nil
	}
	m := &marks{revision: resp.Header.Revision}
	if hint := at(0); hint != nil {
		n, _ := strconv.ParseUint(string(hint.Value), 10, 64) // an unreadable hint is no hint
		m.hint = ID(n)
	}
	if hold := at(1); hold != nil {
		m.hold = parseHold(hold.Value)
	}
	if lock := at(2); lock != nil {
		m.lock = parseHolder(lock.Value)
	}
	return m, nil
}

// held refuses while somebody holds the chain.
func (c *Chain) held(h *Hold) error {
	if h == nil {
		return nil
	}
	ask := ""
	if h.User != "" {
		ask = "ask " + text.Printable(shorten(h.User)) + ": "
	}
	return &RefusedError{
		What:   fmt.Sprintf("%s is on hold%s", c.ns, h),
		Remedy: ask + "it deploys again when the key " + c.own("hold") + " is gone from etcd",
	}
}
