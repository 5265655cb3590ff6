package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// Config is what the owner of rollouts needs.
type Config struct {
	Client   *etcd.Client
	Store    *deploy.Store
	LeaseTTL time.Duration // how long a server that has died still owns rollouts; whole seconds
	// Host is this server's, and Server gives the fingerprint of its signing key, for those who look who owns them.
	Host   string
	Server func() string
	// Chains are those whose targets have rings. They are asked for again every minute, when Pushed says so, and before
	// a head is noted. It may be called at the same time.
	Chains func() (map[record.Namespace]record.Rings, error)
	Pushed <-chan struct{}
	// Rollback publishes an earlier deploy of a chain again.
	Rollback func(context.Context, record.Namespace, *Back) error
	Log      *slog.Logger
}

const (
	// listEvery is how often it is looked which chains there are.
	listEvery = time.Minute
	// lookApart is how long two looks at a chain are apart, at least; lookEvery is how long at most, though nothing is
	// heard.
	lookApart = 200 * time.Millisecond
	lookEvery = 30 * time.Second
	// lookTime bounds a look, with the rollback that may come of it.
	lookTime = time.Minute
	// afterError is the pause after an error.
	afterError = 2 * time.Second
	// giveUp is how long etcd may take at the end to be told.
	giveUp = 2 * time.Second
)

// Run advances the rollouts of chains until ctx ends, as far as no other server owns them.
func Run(ctx context.Context, cfg Config) error {
	o := &owner{cfg: cfg, lease: etcd.NewLease(cfg.Client, cfg.LeaseTTL), chains: map[record.Namespace]*running{}}
	defer o.end(ctx)
	defer o.all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := time.NewTicker(listEvery)
	defer next.Stop()
	failed := false
	for {
		chains, err := cfg.Chains()
		if err != nil && !failed {
			cfg.Log.WarnContext(ctx, "rollouts: some repositories cannot be read", "error", err)
		}
		failed = err != nil
		o.follow(ctx, chains, failed)
		select {
		case <-ctx.Done():
			return nil
		case <-cfg.Pushed:
		case <-next.C:
		}
	}
}

// owner is one call of Run.
type owner struct {
	cfg    Config
	lease  *etcd.Lease
	chains map[record.Namespace]*running
	all    sync.WaitGroup
}

// end revokes the lease, so that another server owns the chains at once.
func (o *owner) end(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
	defer cancel()
	_ = o.lease.End(ctx) // else it runs out
}

// running is a chain that is looked after.
type running struct {
	rings record.Rings
	stop  context.CancelFunc
}

// follow looks after these chains and no others. partly: others may be there, and those that are known go on.
func (o *owner) follow(ctx context.Context, chains map[record.Namespace]record.Rings, partly bool) {
	for ns, one := range o.chains {
		if rings, is := chains[ns]; is && rings != one.rings || !is && !partly {
			one.stop()
			delete(o.chains, ns)
		}
	}
	for ns, rings := range chains {
		if o.chains[ns] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		o.chains[ns] = &running{rings, stop}
		c := &chain{owner: o, Chain: o.cfg.Store.Chain(ns), rings: rings, log: o.cfg.Log.With("namespace", string(ns))}
		o.all.Go(func() { c.run(ctx) })
	}
}

// chain is one chain with rings.
type chain struct {
	*deploy.Chain
	owner *owner
	rings record.Rings
	log   *slog.Logger
	told  string // the error that was told last
}

func (c *chain) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.own(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if said := err.Error(); said != c.told {
			c.log.WarnContext(ctx, "rollout: it is tried again", "error", err)
			c.told = said
		}
		sleep(ctx, afterError)
	}
}

// own owns the chain's rollouts until that is lost, or waits while another server does.
func (c *chain) own(ctx context.Context) error {
	at, isOwn, err := c.owner.take(ctx, c.Chain)
	if err != nil {
		return err
	}
	if !isOwn {
		changed, stop := etcd.Changes(ctx, c.owner.cfg.Client, etcd.Span{Key: c.Key(record.RolloutOwnerKey)})
		defer stop()
		select {
		case <-changed: // at once when the watch begins, and then
			select {
			case <-changed:
			case <-time.After(lookEvery):
			case <-ctx.Done():
			}
		case <-time.After(lookEvery):
		case <-ctx.Done():
		}
		return nil
	}
	changed, stop := etcd.Changes(ctx, c.owner.cfg.Client,
		etcd.Span{Key: c.Key(record.RolloutKey), Below: true}, // the owner's, too
		etcd.Span{Key: c.Key("hold")}, etcd.Span{Key: c.Key(record.NodeKeys), Below: true},
		etcd.Span{Key: c.Key(record.AliveKeys), Below: true})
	defer stop()
	defer c.giveBack(ctx, at)
	for {
		next, isOwn, err := c.look(ctx, at)
		if err != nil || !isOwn {
			return err
		}
		c.told = ""
		wait := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-wait.C:
		}
		wait.Stop()
		if !sleep(ctx, lookApart) {
			return nil
		}
	}
}

// giveBack lets another server own the chain's rollouts; at is as in look.
func (c *chain) giveBack(ctx context.Context, at int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUp)
	defer cancel()
	key := c.Key(record.RolloutOwnerKey)
	_, _ = c.owner.cfg.Client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", at)).
		Then(clientv3.OpDelete(key)).Commit() // else it goes with its lease
}

// look takes one step, which it does not break off. at is the create revision of the owner's key. It tells in how long to
// look again, and whether this server still owns the chain's rollouts.
func (c *chain) look(ctx context.Context, at int64) (again time.Duration, isOwn bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	mine, err := c.Values(ctx, c.Key(record.RolloutOwnerKey))
	if err != nil {
		return 0, false, err
	}
	state, err := c.State(ctx)
	if err != nil || mine[0].Revision != at {
		return 0, false, err
	}
	if r := state.Rollout; r.IsOf(state.Head) && r.Done {
		return lookEvery, true, nil
	}
	nodes, err := c.Reports(ctx)
	if err != nil {
		return 0, false, err
	}
	return c.step(ctx, state, nodes, at)
}

// step does what Judge says of a chain.
func (c *chain) step(
	ctx context.Context, state *record.State, nodes []store.Node, at int64,
) (again time.Duration, isOwn bool, err error) {
	step := Judge(state, nodes, c.rings, time.Now().UTC().Truncate(time.Millisecond))
	if isNote := step.Next != nil && !state.Rollout.IsOf(state.Head); isNote && !c.hasRings() {
		return lookEvery, true, nil
	}
	ours := clientv3.Compare(clientv3.CreateRevision(c.Key(record.RolloutOwnerKey)), "=", at)
	switch {
	case step.Back != nil:
		step.Next = c.goBack(ctx, state.Rollout, step.Back)
		if step.Next == nil {
			return 0, true, nil
		}
		fallthrough
	case step.Next != nil:
		done, err := c.Advance(ctx, state, step.Next, ours)
		if err == nil && done {
			c.tell(ctx, state.Rollout, step.Next)
		}
		return 0, true, err // the next step may be due, or the state has changed
	case step.At.IsZero():
		return lookEvery, true, nil
	}
	return min(lookEvery, max(0, time.Until(step.At))), true, nil
}

// hasRings tells whether the chain's target still has the rings that it had when this chain was last followed: the head
// of a target without rings has no rollout, and gets none. Where the target cannot be read, it is not known, and waits.
func (c *chain) hasRings() bool {
	chains, _ := c.owner.cfg.Chains() // Run tells of the error
	return chains[c.Namespace()] == c.rings
}

// goBack publishes a rollback. Where that is impossible it gives the rollout that says so; nil: it was done, or the chain
// is another one by now, or it may be tried again.
func (c *chain) goBack(ctx context.Context, r *record.Rollout, back *Back) *record.Rollout {
	err := c.owner.cfg.Rollback(ctx, c.Namespace(), back)
	c.log.WarnContext(ctx, "rollout: rollback", "id", back.From, "to", back.To, "reason", back.Why, "error", err)
	switch {
	case err == nil, fault.Is(err, fault.Conflict):
		return nil
	case ctx.Err() != nil, fault.Is(err, fault.Unavailable), errors.Is(err, deploy.ErrLockLost):
		sleep(ctx, afterError)
		return nil
	}
	return r.Stop(fmt.Sprintf("the rollback to deploy %d failed: %v; it was asked for since %s", back.To, err, back.Why))
}

// tell logs what a step has changed.
func (c *chain) tell(ctx context.Context, was, is *record.Rollout) {
	switch {
	case was == nil || was.ID != is.ID:
		c.log.InfoContext(ctx, "rollout: noted", "id", is.ID)
	case is.Released != was.Released:
		c.log.InfoContext(ctx, "rollout: released", "id", is.ID, "ring", is.Rings[is.Released-1])
	case is.Stopped != was.Stopped:
		c.log.WarnContext(ctx, "rollout: stopped", "id", is.ID, "reason", is.Stopped)
	case is.Done:
		c.log.InfoContext(ctx, "rollout: done", "id", is.ID)
	}
}

// ownerJSON is the value of NS/refship/rollout-owner.
type ownerJSON struct {
	Host   string    `json:"host"`
	Server string    `json:"server"` // fingerprint of the server's signing key
	Since  time.Time `json:"since"`
}

// take makes this server the owner of a chain's rollouts, if no other one is. at is the create revision of its key.
func (o *owner) take(ctx context.Context, c *deploy.Chain) (at int64, isOwn bool, err error) {
	id, err := o.lease.Get(ctx)
	if err != nil {
		return 0, false, err
	}
	key := c.Key(record.RolloutOwnerKey)
	value, err := json.Marshal(ownerJSON{o.cfg.Host, o.cfg.Server(), time.Now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return 0, false, fmt.Errorf("own the rollouts of %s: %w", c.Namespace(), err)
	}
	resp, err := etcd.BoundedBelow(o.cfg.Client, string(c.Namespace())+"/").Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithLease(id))).
		Else(clientv3.OpGet(key)).Commit()
	switch {
	case err != nil:
		o.lease.Drop(id) // it may have run out
		return 0, false, fmt.Errorf("own the rollouts of %s: %w", c.Namespace(), err)
	case resp.Succeeded:
		return resp.Header.Revision, true, nil
	}
	found := resp.Responses[0].GetResponseRange().Kvs
	if len(found) == 1 && clientv3.LeaseID(found[0].Lease) == id {
		return found[0].CreateRevision, true, nil
	}
	return 0, false, nil
}

// sleep waits, and tells whether ctx is still open then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
