package rollout_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/record"
	"refship/deploy/rollout"
	"refship/deploy/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that takes milliseconds.
const patience = time.Minute

// setup is a chain with rings in a real etcd, and owners of its rollouts.
type setup struct {
	*chain.Setup
	last  tree.OID
	back  func(ctx context.Context, ns record.Namespace, back *rollout.Back) error
	tried atomic.Int32 // rollbacks
}

func newSetup(t testing.TB) *setup {
	f := &setup{Setup: chain.New(t)}
	f.Store = f.NewStore(deploy.Config{LeaseTTL: time.Minute})
	f.back = f.rollback
	return f
}

// push deploys a commit to the rings a and b.
func (f *setup) push(rings record.Rings) *record.Deploy {
	f.Helper()
	var parents []tree.OID
	if !f.last.IsZero() {
		parents = append(parents, f.last)
	}
	f.last = f.Repo.Commit("a commit", map[string]fixture.File{"page": {Content: time.Now().String()}}, parents...)
	job := f.Job(f.last)
	job.Rings = rings
	if head := f.state().Head; head != nil {
		job.Again = []record.ID{head.ID}
	}
	d, err := f.Publish(f.Context(), job)
	if err != nil {
		f.Fatal(err)
	}
	return d
}

func (f *setup) state() *record.State {
	f.Helper()
	state, err := f.Chain().State(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return state
}

// rollback publishes an earlier deploy as the server does.
func (f *setup) rollback(ctx context.Context, _ record.Namespace, back *rollout.Back) error {
	which, err := record.ParseSelector(back.To.String())
	if err != nil {
		return err
	}
	job, err := f.Chain().NewRollback(ctx, which)
	if err != nil {
		return err
	}
	job.From, job.Unasked, job.Reason, job.Pusher = back.From, true, back.Why, record.Pusher{Name: "host", Via: "rollout"}
	_, err = f.Publish(ctx, job)
	return err
}

// report puts what a node says.
func (f *setup) report(name, ring string, d *record.Deploy, change ...func(*record.NodeReport)) {
	f.Helper()
	r := &record.NodeReport{ID: d.ID, Hash: d.Hash, State: record.NodeRunning, Wants: d.ID, Ring: ring}
	for _, change := range change {
		change(r)
	}
	encoded, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Put(f.Chain().Key(record.AliveKeys+name), "")
	f.Put(f.Chain().Key(record.NodeKeys+name), string(encoded))
}

func failing(r *record.NodeReport) {
	r.ID, r.State, r.Failure, r.Reason = r.ID-1, record.NodeFailed, record.FailedPrepare, "no good"
}

// own runs an owner of the rings until the test ends or stop is called.
func (f *setup) own(rings record.Rings, change ...func(*rollout.Config)) (stop func()) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	cfg := rollout.Config{
		Server: func() string { return "SHA256:test" },
		Client: f.Client, Store: f.Store, LeaseTTL: 2 * time.Second, Host: "host",
		Chains: func() (map[record.Namespace]record.Rings, error) {
			return map[record.Namespace]record.Rings{f.Namespace: rings}, nil
		},
		Rollback: func(ctx context.Context, ns record.Namespace, back *rollout.Back) error {
			f.tried.Add(1)
			return f.back(ctx, ns, back)
		},
		Log: slog.New(slog.DiscardHandler),
	}
	for _, change := range change {
		change(&cfg)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := rollout.Run(ctx, cfg); err != nil {
			f.Error(err)
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); running.Wait() }) }
	f.Cleanup(stop)
	return stop
}

// until waits until the chain is as is says.
func (f *setup) until(what string, is func(*record.State) bool) *record.State {
	f.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		state := f.state()
		if is(state) {
			return state
		}
		if time.Now().After(end) {
			f.Fatalf("not %s: %+v, %+v", what, state.Head, state.Rollout)
		}
	}
}

func done(s *record.State) bool { return s.Rollout != nil && s.Rollout.IsOf(s.Head) && s.Rollout.Done }

var ab = record.Rings{Names: "a,b"}

func TestOwnerAdvances(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.own(ab)
	d := f.push(ab)
	f.report("n2", "b", d) // it says so, and may not: its ring is none of the released ones
	f.report("n1", "a", d)
	state := f.until("done", done)
	if r := state.Rollout; r.Released != 2 || r.Ran["a"] != 1 || r.Ran["b"] != 1 {
		t.Errorf("%+v", r)
	}
	if state.Head.ID != 1 || f.tried.Load() != 0 {
		t.Errorf("deploy %d, %d rollbacks", state.Head.ID, f.tried.Load())
	}
}

// A head that was there before rings were is noted, so that the first deploy with rings has something to go back to.
func TestOwnerNotesAndRollsBack(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	first := f.push(record.Rings{})
	f.report("n1", "a", first)
	f.report("n2", "b", first)
	rings := record.Rings{Names: "a,b", OnFailure: record.RollItBack}
	f.own(rings)
	f.until("noted", done)
	d := f.push(rings)
	f.report("n1", "a", d, failing)
	state := f.until("rolled back", func(s *record.State) bool { return s.Head.ID == 3 })
	r := state.Head.Record
	if r.Kind != record.KindRollback || r.Hash != first.Hash || r.Reason != "n1 (ring a): no good" ||
		r.Pusher != (record.Pusher{Name: "host", Via: "rollout"}) || !state.Rollout.ToAll() {
		t.Errorf("%+v, %+v", r, state.Rollout)
	}
	// What follows a rollback may fail as it likes.
	back := f.state().Head
	f.report("n1", "a", back, failing)
	f.report("n2", "b", back)
	f.report("n1", "a", back)
	if state := f.until("done", done); state.Head.ID != 3 || f.tried.Load() != 1 {
		t.Errorf("deploy %d, %d rollbacks", state.Head.ID, f.tried.Load())
	}
}

// A rollback that cannot be is tried once, and said.
func TestOwnerGivesUpARollback(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	rings := record.Rings{Names: "a,b", OnFailure: record.RollItBack}
	f.back = func(context.Context, record.Namespace, *rollout.Back) error {
		return fault.New(fault.Refused, "its content is gone", "")
	}
	first := f.push(rings)
	f.report("n1", "a", first)
	f.report("n2", "b", first)
	f.own(rings)
	f.until("done", done)
	f.report("n1", "a", f.push(rings), failing)
	state := f.until("stopped", func(s *record.State) bool { return s.Rollout.Stopped != "" })
	if want := "the rollback to deploy 1 failed: its content is gone; it was asked for since n1 (ring a): no good"; state.
		Rollout.Stopped != want || f.tried.Load() != 1 {
		t.Errorf("%q, %d tries", state.Rollout.Stopped, f.tried.Load())
	}
}

// Of many owners one advances, and when it goes another one does. No ring is released twice.
func TestOwnersAlternate(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	rings := record.Rings{Names: "a,b,c,d"}
	var stops []func()
	for range 4 {
		stops = append(stops, f.own(rings))
	}
	d := f.push(rings)
	f.report("n1", "a", d)
	key := f.Chain().Key(record.RolloutOwnerKey)
	for i, stop := range stops {
		ring := string(rune('b' + i))
		f.until("released to "+ring, func(s *record.State) bool { return s.Rollout.Released >= min(i+2, 4) })
		if i < 3 {
			stop() // perhaps the owner
			f.report("n"+ring, ring, d)
		}
	}
	f.until("done", done)
	// One that was killed leaves its key until its lease runs out. It is a key of nobody's here.
	stops[3]()
	lease, err := f.Client.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	txn := f.KV.Txn(t.Context())
	if _, err := txn.Then(putOn(key, lease.ID)).Commit(); err != nil {
		t.Fatal(err)
	}
	f.own(rings)
	d = f.push(rings)
	f.report("n1", "a", d)
	f.until("released to b", func(s *record.State) bool { return s.Rollout.IsOf(s.Head) && s.Rollout.Released == 2 })
}

// An owner that has lost its key, and does not know, changes nothing.
func TestOwnerThatWasCutOff(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.own(ab)
	d := f.push(ab)
	owner := f.Chain().Key(record.RolloutOwnerKey)
	f.until("owned", func(*record.State) bool { _, is := f.Dump()[owner]; return is })
	state := f.state()
	mine, err := f.Chain().Values(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	f.Put(owner, `{"host":"another"}`) // the same key in etcd, but on no lease
	f.Delete(owner)
	f.until("owned again", func(*record.State) bool { _, is := f.Dump()[owner]; return is })
	advanced, err := f.Chain().Advance(t.Context(), state, state.Rollout.Release(time.Now()),
		createdAt(owner, mine[0].Revision))
	if err != nil || advanced {
		t.Errorf("the owner of before has advanced it: %t, %v", advanced, err)
	}
	f.report("n1", "a", d)
	f.report("n2", "b", d)
	f.until("done", done)
}

// Where repositories cannot be read, what is known goes on; chains that are no longer there are left alone.
func TestOwnerFollowsTheChains(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	pushed := make(chan struct{})
	var mu sync.Mutex
	chains, failed := map[record.Namespace]record.Rings{}, error(nil)
	set := func(rings record.Rings, err error) {
		mu.Lock()
		chains, failed = map[record.Namespace]record.Rings{}, err
		if rings.Names != "" {
			chains[f.Namespace] = rings
		}
		mu.Unlock()
		pushed <- struct{}{}
	}
	f.own(ab, func(cfg *rollout.Config) {
		cfg.Pushed = pushed
		cfg.Chains = func() (map[record.Namespace]record.Rings, error) {
			mu.Lock()
			defer mu.Unlock()
			return chains, failed
		}
	})
	owner := f.Chain().Key(record.RolloutOwnerKey)
	isOwned := func(*record.State) bool { _, is := f.Dump()[owner]; return is }
	set(ab, nil)
	f.until("owned", isOwned)
	set(record.Rings{}, errors.New("unreadable"))
	d := f.push(ab)
	f.report("n1", "a", d)
	f.report("n2", "b", d)
	f.until("done", done)
	set(record.Rings{}, nil)
	f.until("left", func(s *record.State) bool { return !isOwned(s) })
}

// Once a target has no rings any more, its owner, which may not have heard of that, notes no head as a rollout.
func TestNoHeadIsNotedWithoutRings(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	var unset, asked atomic.Bool
	stop := f.own(ab, func(cfg *rollout.Config) {
		chains := cfg.Chains
		cfg.Chains = func() (map[record.Namespace]record.Rings, error) {
			if unset.Load() {
				asked.Store(true)
				return nil, nil
			}
			return chains()
		}
	})
	first := f.push(ab)
	f.report("n1", "a", first)
	f.report("n2", "b", first)
	f.until("done", done)
	unset.Store(true)
	f.push(record.Rings{})
	f.until("looked at", func(*record.State) bool { return asked.Load() })
	stop()
	if r := f.state().Rollout; r != nil {
		t.Errorf("noted: %+v", r)
	}
}
