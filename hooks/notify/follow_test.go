package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/notify"
	"refship/hooks/report"
	"refship/hooks/target"
)

// followed is a chain, and a Notifier that is told to look at it.
type followed struct {
	*chain.Setup
	*notify.Notifier
	receiver *receiver
	at       notify.Place
	commits  int
	last     git.OID
}

func newFollowed(t *testing.T) *followed {
	f := &followed{Setup: chain.New(t), receiver: newReceiver(t, nil)}
	f.Store = f.NewStore(deploy.Config{LeaseTTL: time.Minute})
	f.at = notify.Place{Repository: "config", GitDir: f.Repo.Dir, Target: target.Target{
		Name: "default", Ref: "refs/heads/main", Namespace: f.Namespace, Frontend: record.Files,
		Notify: target.Notify(f.receiver.URL),
	}}
	f.configure()
	f.restart()
	return f
}

// configure makes the repository's config say what at says.
func (f *followed) configure() {
	f.Helper()
	known, err := target.ReadTargets(f.Repo.Dir)
	if err == nil && len(known) == 0 {
		err = target.AddTarget(f.Context(), f.Repo.Dir, f.at.Target)
	} else if err == nil {
		err = target.SetTarget(f.Context(), f.Repo.Dir, f.at.Target)
	}
	if err != nil {
		f.Fatal(err)
	}
}

func (f *followed) restart() {
	f.Notifier = notify.New(notify.Config{
		Store: f.Store, Log: slog.New(slog.DiscardHandler), Agent: "refship/test",
		Places: func() ([]notify.Place, error) { return []notify.Place{f.at}, nil },
	})
}

func (f *followed) push() {
	f.Helper()
	f.commits++
	var parents []git.OID
	if f.commits > 1 {
		parents = append(parents, f.last)
	}
	f.last = f.Repo.Commit(fmt.Sprint("commit ", f.commits), map[string]fixture.File{
		"file": {Content: fmt.Sprint(f.commits)},
	}, parents...)
	if _, err := f.Publish(f.Context(), f.Job(f.last)); err != nil {
		f.Fatal(err)
	}
}

// told looks, delivers, and gives what the receiver has heard since the last call, as "kind text".
func (f *followed) told() (all []string) {
	f.Helper()
	before := len(f.receiver.all())
	if err := f.Look(f.Context(), f.at); err != nil {
		f.Fatal(err)
	}
	f.Deliver(f.Context(), f.at)
	for _, a := range f.receiver.all()[before:] {
		e := new(notify.Event)
		if err := json.Unmarshal([]byte(a.body), e); err != nil {
			f.Fatal(err)
		}
		all = append(all, a.event+" "+e.Text)
	}
	return all
}

func (f *followed) want(want ...string) {
	f.Helper()
	got := f.told()
	if !slices.EqualFunc(got, want, func(got, want string) bool { return strings.HasPrefix(got, want) }) {
		f.Errorf("told is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (f *followed) node(name string, r record.NodeReport, alive bool) {
	f.Helper()
	encoded, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Put(f.Chain().Key(record.NodeKeys+name), string(encoded))
	if alive {
		f.Put(f.Chain().Key(record.AliveKeys+name), "")
	}
}

// What happened before the first URL was given is told to nobody, what comes after it is told once, in order, also to a
// server that was not there.
func TestFollow(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.push()
	f.want()
	f.push()
	hold := &record.Hold{User: "ops", Reason: "freeze", Since: time.Now()}
	if err := f.Chain().Hold(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Chain().Resume(t.Context(), &record.Event{
		Kind: record.EventResume, User: "ops", Reason: "thawed", Time: time.Now(),
	}, true); err != nil {
		t.Fatal(err)
	}
	f.push()
	f.restart()
	f.want("published config:default: deploy 2 published, ", "held config:default is on hold, by ops: freeze",
		"resumed config:default goes on, by ops: thawed", "published config:default: deploy 3 published, ")
	f.want()
	selector, err := record.ParseSelector("1")
	if err != nil {
		t.Fatal(err)
	}
	job, err := f.Chain().NewRollback(t.Context(), selector)
	if err != nil {
		t.Fatal(err)
	}
	job.Repo, job.Pusher, job.Reason = f.Open(), record.Pusher{Name: "ops"}, "2 is bad"
	if _, err := f.Publish(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	f.want("rolled-back config:default: deploy 4 published, a rollback to ")
}

// Begin says from when on, to the millisecond; who told nobody for a time tells nothing of that
// time, nor what was left from before.
func TestBegin(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.push()
	head, err := f.Chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fixture.Eventually(t, func() bool { return time.Now().Truncate(time.Millisecond).After(head.Record.Time) })
	if err := notify.Begin(f.at); err != nil {
		t.Fatal(err)
	}
	f.push() // before anybody has looked
	f.want("published config:default: deploy 2 ")
	f.push()
	if err := f.Look(t.Context(), f.at); err != nil {
		t.Fatal(err)
	}
	fixture.Eventually(t, func() bool {
		head, err := f.Chain().Head(t.Context())
		return err == nil && time.Now().Truncate(time.Millisecond).After(head.Record.Time)
	})
	if err := errors.Join(notify.Forget(f.at), notify.Begin(f.at)); err != nil {
		t.Fatal(err)
	}
	f.want()
	f.push()
	f.want("published config:default: deploy 4 ")
}

// A server that is killed when an event is queued, and not yet noted, queues the same one again: it is there once, or
// comes as the same delivery.
func TestKilledBeforeItIsNoted(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.want()
	noted := filepath.Join(f.Repo.Dir, "refship", "notify", "default", "told.json")
	before, err := os.ReadFile(noted)
	if err != nil {
		t.Fatal(err)
	}
	f.push()
	for _, name := range []string{"n1", "n2"} {
		f.node(name, record.NodeReport{Wants: 1, State: record.NodeFailed, Reason: "no"}, true)
	}
	forget := func() {
		if err := os.WriteFile(noted, before, 0o600); err != nil {
			t.Fatal(err)
		}
		f.restart()
	}
	for range 3 {
		if err := f.Look(t.Context(), f.at); err != nil {
			t.Fatal(err)
		}
		forget()
	}
	f.want("published ", "nodes-failed ")
	forget()
	f.want("published ", "nodes-failed ")
	ids := f.receiver.ids()
	if !slices.Equal(ids[:2], ids[2:]) {
		t.Errorf("deliveries are %q", ids)
	}
}

// Each node that fails is told of once, and once that all run what is deployed. Nodes that are gone keep nobody waiting.
func TestNodes(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.want()
	f.push()
	f.want("published ")
	head, err := f.Chain().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	running := record.NodeReport{ID: 1, Hash: head.Hash, State: record.NodeRunning}
	f.node("gone", record.NodeReport{State: record.NodeRunning}, false)
	f.want()
	f.node("n1", running, true)
	f.node("n2", record.NodeReport{Wants: 1, State: record.NodeSwitching}, true)
	f.want()
	f.node("n2", record.NodeReport{Wants: 1, State: record.NodeFailed, Reason: "disk"}, true)
	f.node("n3", record.NodeReport{Wants: 1, State: record.NodeRefused, Reason: "no"}, true)
	f.want("nodes-failed config:default: 2 nodes cannot run deploy 1: n2: disk; 1 of 4 nodes run deploy 1, 1 gone")
	f.want()
	hooked := running
	hooked.Failure, hooked.State = record.FailedHook, record.NodeFailed
	f.node("n1", hooked, true)
	f.node("n2", running, true)
	f.want("nodes-failed config:default: 1 node cannot run deploy 1: n1: ")
	f.node("n1", running, true)
	f.want()
	f.node("n3", running, true)
	f.want("nodes-done config:default: 3 of 4 nodes run deploy 1, 1 gone")
	f.node("n3", record.NodeReport{Wants: 1, State: record.NodeFailed}, true)
	f.restart()
	f.want()
	f.node("gone", record.NodeReport{Wants: 1, State: record.NodeFailed, Reason: "old disk"}, true) // comes back
	f.want("nodes-failed config:default: 1 node cannot run deploy 1: gone: old disk; 2 of 4 nodes run deploy 1")
	f.node("gone", running, true)
	f.node("n3", running, true)
	f.want("nodes-done config:default: 4 of 4 nodes run deploy 1")
	f.node("n3", record.NodeReport{Wants: 1, State: record.NodeFailed}, true)
	f.want()
	f.node("n3", running, true)
	f.want()
	if ids := f.receiver.ids(); len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(ids) {
		t.Errorf("not each has an id of its own: %q", ids)
	}
	f.push()
	f.want("published ")
}

// A key that may report as many nodes tells of some of them, and fills no queue.
func TestManyFailedNodes(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.want()
	f.push()
	fail := func(round int) {
		for i := range 80 {
			f.node(fmt.Sprintf("n.%d.%d", round, i), record.NodeReport{Wants: 1, State: record.NodeFailed}, true)
		}
	}
	fail(1)
	f.want("published ", "nodes-failed config:default: 80 nodes cannot run deploy 1: n.1.0: ")
	fail(2)
	f.want("nodes-failed config:default: 20 nodes ")
	fail(3)
	f.want()
	for _, a := range f.receiver.all() {
		if n := strings.Count(a.body, `"name":"n.`); n > 20 {
			t.Errorf("%d nodes are named", n)
		}
	}
}

// A chain that was deleted, and begun anew, is told from there on.
func TestOtherChain(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.want()
	f.push()
	f.push()
	f.want("published ", "published ")
	for key := range f.Dump() {
		if strings.HasPrefix(key, string(f.Namespace)+"/") {
			f.Delete(key)
		}
	}
	f.want()
	f.push()
	f.push()
	f.push()
	f.want("published config:default: deploy 1 ", "published config:default: deploy 2 ",
		"published config:default: deploy 3 ")
}

// Who gets another URL hears nothing at the old one from then on, also before the new one is known to Run.
func TestOtherURL(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.want()
	old, other := f.at, newReceiver(t, nil)
	f.at.Target.Notify = target.Notify(other.URL)
	f.configure()
	f.push()
	if err := f.Look(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	f.receiver = other
	f.want("published ")
	receivers, err := old.Target.Notify.Receivers()
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := f.Waiting(old, receivers[0]); len(names) != 0 {
		t.Errorf("%q wait for the old one", names)
	}
}

// Run hears of all that by itself, keeps the order with refused pushes, and ends when it is told to.
func TestRun(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.want()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	f.push()
	f.refuse("first")
	f.push()
	f.refuse("second")
	f.node("n1", record.NodeReport{ID: 9, State: record.NodeRunning}, true)
	fixture.Eventually(t, func() bool { return len(f.receiver.all()) >= 5 })
	var kinds []string
	for _, a := range f.receiver.all() {
		kinds = append(kinds, a.event)
	}
	want := "published refused published refused nodes-done"
	if got := strings.Join(kinds, " "); got != want && // the first pushes may come before it is followed
		got != "refused published published refused nodes-done" &&
		got != "refused refused published published nodes-done" {
		t.Errorf("told is %s, want %s", got, want)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (f *followed) refuse(why string) {
	f.Refused(f.Context(), &report.Refusal{
		Repository: "config", GitDir: f.Repo.Dir, Targets: []target.Target{f.at.Target}, Who: record.Pusher{Name: "bob"},
		Updates: []git.RefUpdate{{Ref: "refs/heads/main", New: f.last}, {Ref: "refs/heads/other"}}, Err: errors.New(why),
	})
}

// A disk that hangs keeps a push for a second, no more.
func TestHangingDisk(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	receivers, err := f.at.Target.Notify.Receivers()
	if err != nil {
		t.Fatal(err)
	}
	end := f.Hang(f.at, receivers[0])
	f.refuse("first") // returns
	end()
	fixture.Eventually(t, func() bool { names, _ := f.Waiting(f.at, receivers[0]); return len(names) == 1 })
}

// An etcd that does not answer, which may be why a push was refused, does not keep that from being queued.
func TestHangingEtcd(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	receivers, err := f.at.Target.Notify.Receivers()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Stall(f.at)()
	f.refuse("etcd unreachable")
	fixture.Eventually(t, func() bool { names, _ := f.Waiting(f.at, receivers[0]); return len(names) == 1 })
}
