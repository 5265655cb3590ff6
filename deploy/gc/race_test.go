package gc_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/gc"
	"refship/deploy/git"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/text"
)

var raceTime = flag.Duration("gc.for", 4*time.Second, "how long TestRace runs")

// shortTTL is soon over for a lock whose fate is not known.
const shortTTL = 2 * time.Second

// race is gc beside pushes, rollbacks and pins, all of which are broken off at any moment and meet an etcd that fails
// before or after it has done what it was asked for.
type race struct {
	*setup
	random func(n int) int // may be called by many
	faults atomic.Bool
	failed atomic.Int64
}

func newRace(t *testing.T) *race {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	r := &race{setup: newSetup(t), random: func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return source.IntN(n)
	}}
	r.Client.KV = &faulty{KV: r.KV, fail: func() (before, after bool) {
		if !r.faults.Load() {
			return false, false
		}
		return r.random(200) == 0, r.random(200) == 0
	}}
	r.Store = r.newStoreFor(shortTTL)
	return r
}

// run lets actors act beside each other, and beside the gc of another process. The first one must do something.
func (r *race) run(actors ...func(context.Context) error) {
	r.Helper()
	r.faults.Store(true)
	ctx, stop := context.WithTimeout(r.Context(), *raceTime)
	defer stop()
	other, ns := r.newStoreFor(shortTTL), r.Namespace
	actors = append(actors, func(ctx context.Context) error { return collectOn(ctx, other, ns, 3) })
	var all sync.WaitGroup
	done := make([]int, len(actors))
	for i, act := range actors {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := r.brokenOff(ctx, act); err == nil {
					done[i]++
				} else if !r.isExpected(err) {
					r.Errorf("actor %d: %v", i, err)
					stop()
				}
			}
		})
	}
	all.Wait()
	r.faults.Store(false)
	r.Store = r.newStore()
	if done[0] == 0 && !r.Failed() { // on a slow machine
		if err := actors[0](r.Context()); err != nil {
			r.Error(err)
		}
	}
	r.Logf("done: %v; %d failed or were broken off", done, r.failed.Load())
}

func TestRace(t *testing.T) {
	t.Parallel()
	r := newRace(t)
	r.deploy(r.files())
	r.run(r.push, r.goBack, r.gc, r.keep)
	r.judge()
}

// mgmt deploys as well, without a lock. All that is there when it begins is older than an hour.
func TestRaceWithMgmt(t *testing.T) {
	t.Parallel()
	r := newRace(t)
	r.Namespace = record.MgmtNamespace
	m := &mgmtSetup{r.setup}
	m.lang("first")
	r.run(r.pushLang, r.goBack, r.gc, func(ctx context.Context) error { return r.mgmt(ctx, m) })
	head, err := r.Chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expired, err := r.Chain().Expired(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id := expired + 1; id <= head.ID; id++ {
		m.wantRuns(id)
	}
	m.ages(25 * time.Hour)
	r.collect(1)
	m.wantRuns(head.ID)
	t.Logf("%d deploys, expired up to %d", head.ID, expired)
}

func (r *race) pushLang(ctx context.Context) error {
	job := r.Job(r.commit(files{"main.mcl": strconv.Itoa(r.random(5)), "modules/a": strconv.Itoa(r.random(5))}))
	repo, err := git.OpenRepository(context.WithoutCancel(ctx), r.Repo.Dir, nil)
	if err != nil {
		return err
	}
	defer repo.Close()
	job.Repo, job.Frontend, job.Force, job.Reason = repo, record.Lang, true, "another line"
	_, err = r.Publish(ctx, job)
	return err
}

// mgmt deploys as mgmt does: contents, superblock, payload. Another deploy may have the id first; then it gives up.
// Most times it leaves the chain to the others.
func (r *race) mgmt(ctx context.Context, m *mgmtSetup) error {
	if r.random(8) != 0 {
		_, err := r.Chain().Head(ctx)
		return err
	}
	m.ages(61 * time.Minute)
	head, err := r.Chain().Head(ctx)
	if err != nil {
		return err
	}
	id := head.ID + 1
	block := m.blockAnew(id, strconv.Itoa(r.random(5)), strconv.Itoa(r.random(5)))
	payload, err := (&mgmt.Payload{Frontend: mgmt.Lang, InputURI: mgmt.InputURI(block)}).Encode()
	if err != nil {
		return err
	}
	at, hash := r.Chain().DeployKey(id, record.KeyPayload), r.Chain().DeployKey(id, record.KeyHash)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// Not broken off: what etcd applies later would come an hour later here, since the next call ages all that is there.
	_, err = r.KV.Txn(context.WithoutCancel(ctx)).If(clientv3.Compare(clientv3.CreateRevision(at), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(hash), "=", 0)).
		Then(clientv3.OpPut(at, string(payload)), clientv3.OpPut(hash, "")).Commit()
	return err
}

// brokenOff breaks one in four actions off, within the first 200 ms.
func (r *race) brokenOff(ctx context.Context, act func(context.Context) error) error {
	if r.random(4) == 0 {
		var stop func()
		ctx, stop = context.WithTimeout(ctx, time.Duration(r.random(200))*time.Millisecond)
		defer stop()
	}
	return act(ctx)
}

// isExpected tells what may come of an action here.
func (r *race) isExpected(err error) bool {
	if err != nil {
		r.failed.Add(1)
	}
	return err == nil || errors.Is(err, errFaulty) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, deploy.ErrLockLost) || fault.Is(err, fault.Conflict) ||
		fault.Is(err, fault.Refused) || fault.Is(err, fault.Unavailable)
}

// files are some of forty contents, in some of forty places: each deploy shares most with some that came before.
func (r *race) files() files {
	all := files{"always": "there"}
	for range 12 {
		all[fmt.Sprintf("%d/%d/file", r.random(3), r.random(5))] = strconv.Itoa(r.random(40))
	}
	return all
}

func (r *race) push(ctx context.Context) error {
	commit := r.commit(r.files())
	job := r.Job(commit)
	repo, err := git.OpenRepository(context.WithoutCancel(ctx), r.Repo.Dir, nil)
	if err != nil {
		return err
	}
	defer repo.Close()
	job.Repo, job.Force, job.Reason = repo, true, "another line"
	_, err = r.Publish(ctx, job)
	return err
}

func (r *race) goBack(ctx context.Context) error {
	head, err := r.Chain().Head(ctx)
	if err != nil {
		return err
	}
	selector, err := record.ParseSelector(strconv.Itoa(max(1, int(head.ID)-1-r.random(6))))
	if err != nil {
		return err
	}
	job, err := r.Chain().NewRollback(ctx, selector)
	if err != nil {
		return err
	}
	job.Pusher, job.Server, job.Reason = record.Pusher{Name: "ops"}, "host", "test"
	_, err = r.Publish(ctx, job)
	return err
}

func collectOn(ctx context.Context, s *deploy.Store, ns record.Namespace, keep int) error {
	_, err := gc.Run(ctx, gc.Config{
		Store: s, Who: record.Holder{User: "gc"}, KeepLast: keep, Progress: func(text.Progress) {},
	}, ns)
	return err
}

func (r *race) gc(ctx context.Context) error {
	return collectOn(ctx, r.Store, r.Namespace, 1+r.random(4))
}

// keep pins a deploy of the newest few, or takes a pin away.
func (r *race) keep(ctx context.Context) error {
	head, err := r.Chain().Head(ctx)
	if err != nil {
		return err
	}
	id := record.ID(max(1, int(head.ID)-r.random(6)))
	if r.random(2) == 0 {
		_, err := r.Chain().Unpin(ctx, id)
		return err
	}
	d, err := r.Chain().Get(ctx, id)
	if err != nil {
		return err
	}
	_, err = r.Chain().Pin(ctx, d, new(record.Pin), func() (*deploy.Lock, error) {
		return r.Chain().Lock(ctx, record.Holder{User: "ops"}, time.Minute, func(record.Holder, time.Duration) {})
	})
	return err
}

// judge wants each deploy to be whole that is not told as expired, and that all that is needed is all that is left once
// gc has run to its end.
func (r *race) judge() {
	r.Helper()
	head, err := r.Chain().Head(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for id := record.ID(1); id <= head.ID; id++ {
		expired, err := r.Chain().IsExpired(r.Context(), id)
		if err != nil {
			r.Fatal(err)
		}
		if err := r.read(id); err != nil && !expired {
			r.Errorf("deploy %d: %v", id, err)
		}
	}
	pins, err := r.Chain().Pins(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	r.wantWhole(append(pins, head.ID)...)
	r.Logf("%d deploys", head.ID)
	// All leftovers are old enough once it is known that now is.
	now := r.Put("elsewhere", "")
	r.Put(namespace+"/refship/gc", string(record.Runs{{Revision: now, Time: time.Now().Add(-25 * time.Hour)}}.Encode()))
	r.collect(1)
	need := r.needs(append(pins, head.ID)...)
	for key := range r.content() {
		if !need[key] {
			r.Errorf("%s is left", key)
		}
	}
	r.wantWhole(append(pins, head.ID)...)
}
