package plan

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

func newShare(m *Memory) *share { return &share{of: m} }

// isTaken tells whether a plan has some of the memory.
func (m *Memory) isTaken() bool {
	free := m.small.TryAcquire(allSmall)
	if free {
		m.small.Release(allSmall)
	}
	if !m.large.TryAcquire(allLarge) {
		return true
	}
	m.large.Release(allLarge)
	return !free
}

func TestOnePlanIsBounded(t *testing.T) {
	m := NewMemory()
	plan := newShare(m)
	for range maxPlan >> 20 {
		if err := plan.take(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	fixture.WantFault(t, fault.Refused, plan.take(t.Context(), 1), "more than 256 MiB of memory", "deploy it in parts")
	plan.giveBack()
	if m.isTaken() {
		t.Error("memory is still taken")
	}
}

// Two large plans have all the memory for such: a third waits for one of them, and small ones for none.
func TestSmallPlansDoNotWaitForLargeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		var large []*share
		for range 2 {
			plan := newShare(m)
			if err := plan.take(t.Context(), smallPlan+1); err != nil {
				t.Fatal(err)
			}
			large = append(large, plan)
		}
		third := newShare(m)
		start := time.Now()
		fixture.WantFault(t, fault.Conflict, third.take(t.Context(), smallPlan+1),
			"other large deploys had all the memory", "try again")
		if took := time.Since(start); took != memoryWait {
			t.Errorf("waited %s", took)
		}
		third.giveBack()
		for range allSmall / smallPlan {
			small := newShare(m)
			defer small.giveBack()
			if err := small.take(t.Context(), smallPlan); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		cancel(gone)
		if err := third.take(ctx, smallPlan+1); !errors.Is(err, gone) {
			t.Errorf("with a client that is gone: %v", err)
		}
		third.giveBack()
		got := make(chan error)
		go func() { got <- third.take(t.Context(), smallPlan+1) }()
		synctest.Wait()
		large[0].giveBack()
		if err := <-got; err != nil {
			t.Error(err)
		}
		third.giveBack()
		large[1].giveBack()
	})
}

// Whatever plans do, none has more than it may, and all memory comes back.
func TestMemoryComesBack(t *testing.T) {
	m := NewMemory()
	rapid.Check(t, func(t *rapid.T) {
		plans := []*share{newShare(m), newShare(m)}
		used := make([]int64, len(plans))
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			i := rapid.IntRange(0, len(plans)-1).Draw(t, "plan")
			n := rapid.Int64Range(-1, 100<<20).Draw(t, "bytes")
			if n < 0 {
				plans[i].giveBack()
				used[i] = 0
				continue
			}
			used[i] += n
			if err := plans[i].take(context.Background(), n); (err != nil) != (used[i] > maxPlan) {
				t.Fatalf("%d bytes: %v", used[i], err)
			}
		}
		for _, plan := range plans {
			plan.giveBack()
		}
		if m.isTaken() {
			t.Fatal("memory is still taken")
		}
	})
}

// setup is a namespace in a real etcd and a real git repository.
type setup struct {
	*testing.T
	client *etcd.Client
	repo   *fixture.Repository
	opened *git.Repository
	memory *Memory
}

func newSetup(t *testing.T) *setup {
	f := &setup{T: t, client: fixture.NewEtcd(t).Client(), repo: fixture.NewRepository(t), memory: NewMemory()}
	opened, err := git.OpenRepository(t.Context(), f.repo.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	f.opened = opened
	return f
}

func quiet(text.Progress) {}

// make plans the first deploy of a commit.
func (f *setup) make(commit tree.OID) (*Plan, error) {
	f.Helper()
	return Make(f.Context(), Task{
		Chain: store.Open(f.client, "/refship/config"), KV: f.client, Memory: f.memory, Log: slog.New(slog.DiscardHandler),
		ID: 1, Root: f.repo.OID("rev-parse", commit.String()+"^{tree}"), Source: f.opened, Repo: f.opened,
		Objects: []tree.OID{commit}, Frontend: record.Files, Then: "push again",
	}, quiet)
}

// put puts a plan; with ifs only where they hold.
func (f *setup) put(p *Plan, ifs ...clientv3.Cmp) error {
	f.Helper()
	uncounted := func(bool) error { return nil }
	return p.Put(f.Context(), etcd.NewWriter(f.Context(), f.client, ifs...), uncounted, quiet)
}

// A plan has its memory until it is put, dropped or refused.
func TestAPlanGivesItsMemoryBack(t *testing.T) {
	f := newSetup(t)
	first := f.repo.Commit("first", map[string]fixture.File{"a": {Content: "a"}, "d/b": {Content: "b"}})
	for name, end := range map[string]func(*Plan) error{
		"put":     func(p *Plan) error { return f.put(p) },
		"dropped": func(p *Plan) error { p.Drop(); p.Drop(); return nil }, // twice is as good as once
	} {
		p, err := f.make(first)
		if err != nil || !f.memory.isTaken() {
			t.Fatal("a plan takes no memory", err)
		}
		if err := end(p); err != nil {
			t.Fatal(err)
		}
		if f.memory.isTaken() || p.Changed != 2 || len(p.Listed) != 2 {
			t.Errorf("the plan that was %s has memory, or no result: %+v", name, p.Summary)
		}
	}
	deep := f.repo.Commit("deep", map[string]fixture.File{strings.Repeat("d/", 200) + "f": {Content: "f"}})
	if _, err := f.make(deep); !fault.Is(err, fault.Refused) {
		t.Error(err)
	}
	if f.memory.isTaken() {
		t.Error("the refused plan has memory")
	}
}

// kept gives what a plan keeps of file contents and git objects, without keeping it itself.
func (p *Plan) kept() (all []weak.Pointer[byte]) {
	for _, c := range p.contents {
		if len(c.kept) > 0 {
			all = append(all, weak.Make(&c.kept[0]))
		}
	}
	for _, raw := range p.objects {
		all = append(all, weak.Make(&raw[0]))
	}
	return all
}

func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(b)
	return string(b)
}

// Pushes that wait to be published hold no content in memory.
func TestUploadedContentIsNotKept(t *testing.T) {
	f := newSetup(t)
	p, err := f.make(f.repo.Commit("first", map[string]fixture.File{"a": {Content: noise(300_000)},
		"d/b": {Content: noise(200_000)}, "d/c": {Content: "small"}}))
	if err != nil {
		t.Fatal(err)
	}
	kept := p.kept()
	if len(kept) != 4 {
		t.Fatalf("%d contents and objects are kept before they are put", len(kept))
	}
	for range 2 {
		if err := f.put(p, clientv3.Compare(clientv3.CreateRevision("lock"), "=", 1)); !errors.Is(err, etcd.ErrCompare) {
			t.Fatal(err)
		}
	}
	if err := f.put(p); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	for i, pointer := range kept {
		if pointer.Value() != nil {
			t.Errorf("content %d is still in memory", i)
		}
	}
	runtime.KeepAlive(p)
}
