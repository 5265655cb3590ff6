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

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/gc"
	"refship/deploy/git"
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
	rounds [4]atomic.Int64 // pushes, rollbacks, runs of gc, pins that went through
	failed atomic.Int64
}

func TestRace(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
	r := &race{setup: newSetup(t), random: func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return source.IntN(n)
	}}
	r.client.KV = &faulty{KV: r.kv, fail: func() (before, after bool) {
		if !r.faults.Load() {
			return false, false
		}
		return r.random(200) == 0, r.random(200) == 0
	}}
	r.store = r.newStoreFor(shortTTL)
	r.deploy(r.files())
	r.faults.Store(true)
	ctx, stop := context.WithTimeout(t.Context(), *raceTime)
	defer stop()
	var all sync.WaitGroup
	for i, act := range []func(context.Context) error{r.push, r.goBack, r.gc, r.keep} {
		repeat := func(count bool) {
			for ctx.Err() == nil {
				if err := r.brokenOff(ctx, act); err == nil && count {
					r.rounds[i].Add(1)
				} else if !r.isExpected(err) {
					t.Errorf("actor %d: %v", i, err)
					stop()
				}
			}
		}
		all.Go(func() { repeat(true) })
	}
	all.Go(func() { // another process
		other := *r.setup
		other.store = other.newStoreFor(shortTTL)
		for ctx.Err() == nil {
			if err := r.brokenOff(ctx, func(ctx context.Context) error { return collectOn(ctx, other.store, 3) }); !r.isExpected(err) {
				t.Errorf("the other gc: %v", err)
				stop()
			}
		}
	})
	all.Wait()
	r.faults.Store(false)
	r.judge()
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
	job := r.job(commit)
	repo, err := git.OpenRepository(context.WithoutCancel(ctx), r.repo.Dir, nil)
	if err != nil {
		return err
	}
	defer repo.Close()
	job.Repo, job.Force, job.Reason = repo, true, "another line"
	_, err = r.publish(ctx, job)
	return err
}

func (r *race) goBack(ctx context.Context) error {
	head, err := r.chain().Head(ctx)
	if err != nil {
		return err
	}
	selector, err := record.ParseSelector(strconv.Itoa(max(1, int(head.ID)-1-r.random(6))))
	if err != nil {
		return err
	}
	job, err := r.chain().NewRollback(ctx, selector)
	if err != nil {
		return err
	}
	job.Pusher, job.Server, job.Reason = record.Pusher{Name: "ops"}, "host", "test"
	_, err = r.publish(ctx, job)
	return err
}

func collectOn(ctx context.Context, s *deploy.Store, keep int) error {
	_, err := gc.Run(ctx, gc.Config{Store: s, Who: record.Holder{User: "gc"}, KeepLast: keep, Progress: func(text.Progress) {}}, namespace)
	return err
}

func (r *race) gc(ctx context.Context) error { return collectOn(ctx, r.store, 1+r.random(4)) }

// keep pins a deploy of the newest few, or takes a pin away.
func (r *race) keep(ctx context.Context) error {
	head, err := r.chain().Head(ctx)
	if err != nil {
		return err
	}
	id := record.ID(max(1, int(head.ID)-r.random(6)))
	if r.random(2) == 0 {
		_, err := r.chain().Unpin(ctx, id)
		return err
	}
	d, err := r.chain().Get(ctx, id)
	if err != nil {
		return err
	}
	_, err = r.chain().Pin(ctx, d, new(record.Pin), func() (*deploy.Lock, error) {
		return r.chain().Lock(ctx, record.Holder{User: "ops"}, time.Minute, func(record.Holder, time.Duration) {})
	})
	return err
}

// judge wants each deploy to be whole that is not told as expired, and that all that is needed is all that is left once
// gc has run to its end.
func (r *race) judge() {
	r.Helper()
	head, err := r.chain().Head(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	r.store = r.newStore()
	for id := record.ID(1); id <= head.ID; id++ {
		expired, err := r.chain().IsExpired(r.Context(), id)
		if err != nil {
			r.Fatal(err)
		}
		if err := r.read(id); err != nil && !expired {
			r.Errorf("deploy %d: %v", id, err)
		}
	}
	pins, err := r.chain().Pins(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	r.wantWhole(append(pins, head.ID)...)
	r.Logf("%d deploys; %d pushes, %d rollbacks, %d runs of gc, %d pins; %d failed or were broken off", head.ID,
		r.rounds[0].Load(), r.rounds[1].Load(), r.rounds[2].Load(), r.rounds[3].Load(), r.failed.Load())
	for i := range r.rounds {
		if r.rounds[i].Load() == 0 {
			r.Errorf("actor %d did nothing", i)
		}
	}
	// All leftovers are old enough once it is known that now is.
	now := r.put("elsewhere", "")
	r.put(namespace+"/refship/gc", string(record.Runs{{Revision: now, Time: time.Now().Add(-25 * time.Hour)}}.Encode()))
	r.collect(1)
	need := r.needs(append(pins, head.ID)...)
	for key := range r.content() {
		if !need[key] {
			r.Errorf("%s is left", key)
		}
	}
	r.wantWhole(append(pins, head.ID)...)
}
