package hooks_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks/target"
)

// A post-receive that never runs: End publishes, and has something to say.
func TestEndPublishesWhatPostReceiveDidNot(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	s.journal.When("intent-written", func() { os.Remove(filepath.Join(s.server.HooksPath(), "post-receive")) })
	r := s.user("laptop").push("main")
	r.published(t, 1)
	if len(r.outcome.Late) != 1 || r.outcome.Undeployed != nil {
		t.Errorf("outcome is %+v", r.outcome)
	}
	if hash, _ := s.head("/refship/config"); hash != head {
		t.Errorf("chain is at %q, want %s", hash, head)
	}
	s.settled()
}

// Somebody took the lock away between pre- and post-receive: the deploy is prepared again and published.
func TestLockLostBeforePublish(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	s.journal.When("post-receive-start", func() { s.del("/refship/config/refship/lock") })
	s.user("laptop").push("main").published(t, 1)
	if hash, _ := s.head("/refship/config"); hash != head {
		t.Errorf("chain is at %q, want %s", hash, head)
	}
	s.settled()
}

// leaveBehind makes a push whose ref moves and whose deploy is not published, and gives the pushed commit.
func (s *site) leaveBehind(p *pusher, content string) (string, result) {
	s.Helper()
	head := s.commit("a.txt", content)
	const hold = "/refship/config/refship/hold"
	s.journal.When("post-receive-start", func() { s.put(hold, "not now") })
	r := p.push("main")
	s.del(hold)
	return head, r
}

func TestFailedPublishLeavesTheIntentAndReconcilePublishesIt(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head, r := s.leaveBehind(laptop, "one\n")
	r.undeployed(t, fault.Conflict, heldReason)
	if len(r.outcome.Late) != 0 {
		t.Errorf("outcome is %+v", r.outcome)
	}
	if hash, _ := s.head("/refship/config"); hash != "" || s.ref("refs/heads/main") != head {
		t.Errorf("chain is at %q, ref at %q", hash, s.ref("refs/heads/main"))
	}
	s.git(s.bare, "pack-refs", "--all")
	if said := s.reconcile(true, 1); len(said) != 1 {
		t.Errorf("said %q", said)
	}
	d, err := s.chain("/refship/config").Head(t.Context())
	if err != nil || string(d.Hash) != head || d.Record.Pusher.Name != "laptop" ||
		d.Record.Pusher.Key != laptop.key.Fingerprint() {
		t.Errorf("head is %+v, %v", d, err)
	}
	s.settled()
	if said := s.reconcile(true); len(said) != 0 {
		t.Errorf("a second time: %q", said)
	}
}

// An intent whose deploy was published before the process died is only removed.
func TestReconcileAfterDeathBetweenPublishAndRemoval(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	pending := filepath.Join(s.bare, "refship", "pending")
	var name string
	var text []byte
	s.journal.When("published", func() {
		files, err := filepath.Glob(filepath.Join(pending, "*.json"))
		if err != nil || len(files) != 1 {
			t.Errorf("intents are %q, %v", files, err)
			return
		}
		name = files[0]
		text, _ = os.ReadFile(name)
	})
	s.commit("a.txt", "one\n")
	s.user("laptop").push("main").published(t, 1)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	before := s.dump()
	if said := s.reconcile(true); len(said) != 1 { // that it is deployed already
		t.Errorf("said %q", said)
	}
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("etcd changed:\n%s", diff)
	}
	s.settled()
}

func TestReconcileDropsWhatTheRefIsNot(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head, _ := s.leaveBehind(laptop, "one\n")
	s.git(s.bare, "update-ref", "-d", "refs/heads/main")
	if said := s.reconcile(false); len(said) != 0 {
		t.Errorf("said %q", said)
	}
	s.settled()
	if hash, _ := s.head("/refship/config"); hash != "" {
		t.Errorf("chain is at %q", hash)
	}

	// A ref that is ahead without an intent is told of, and left alone.
	s.git(s.bare, "update-ref", "refs/heads/main", head)
	if said := s.reconcile(false); len(said) != 1 || !strings.Contains(said[0], short(head)) {
		t.Errorf("said %q", said)
	}
	if hash, _ := s.head("/refship/config"); hash != "" {
		t.Errorf("chain is at %q", hash)
	}
	laptop.push("main:refs/heads/other").ended(t, true, "stored")
	next := s.commit("a.txt", "two\n")
	laptop.push("main").published(t, 1)
	s.git(s.bare, "update-ref", "refs/heads/main", head)
	if said := s.reconcile(false); len(said) != 1 || !strings.Contains(said[0], short(head)) ||
		!strings.Contains(said[0], short(next)) {
		t.Errorf("said %q", said)
	}
	if hash, _ := s.head("/refship/config"); hash != next {
		t.Errorf("chain is at %q", hash)
	}
}

// What cannot be published stays, and holds up nothing else.
func TestReconcileGoesOnAfterTrouble(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	s.leaveBehind(laptop, "one\n")
	pending := filepath.Join(s.bare, "refship", "pending")
	bad := filepath.Join(pending, strings.Repeat("0", 32)+".json")
	if err := os.WriteFile(bad, []byte(`{"format":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(bad, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	s.put("/refship/config/refship/hold", "not now")
	said, err := s.server.Reconcile(t.Context(), "config", s.bare, false)
	fixture.WantReason(t, fault.Conflict, err, heldReason)
	if len(said) != 1 || !strings.Contains(said[0], filepath.Base(bad)+".bad") {
		t.Errorf("said %q", said)
	}
	s.del("/refship/config/refship/hold")
	if said := s.reconcile(false, 1); len(said) != 1 {
		t.Errorf("said %q", said)
	}
	if _, err := os.Stat(bad + ".bad"); err != nil {
		t.Error(err)
	}
}

// While a push runs, its intent is its own business.
func TestReconcileLeavesRunningPushesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	s.journal.When("intent-written", func() { // the ref has not moved yet
		if lines, err := s.server.Reconcile(context.Background(), "config", s.bare, false); err != nil || len(lines) != 0 {
			t.Errorf("lines are %q, %v", lines, err)
		}
		if files, _ := filepath.Glob(filepath.Join(s.bare, "refship", "pending", "*.json")); len(files) != 1 {
			t.Errorf("intents are %q", files)
		}
	})
	s.journal.When("post-receive-start", func() { // the ref is ahead of its chain for a moment
		if lines, err := s.server.Reconcile(context.Background(), "config", s.bare, false); err != nil || len(lines) != 0 {
			t.Errorf("lines are %q, %v", lines, err)
		}
	})
	s.user("laptop").push("main").published(t, 1)
}

func TestReconcileRemovesWhatDeadPushesLeft(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	laptop.push("main").published(t, 1)
	stale := []string{"HEAD.lock", "packed-refs.lock", "shallow.lock", "refs/heads/main.lock", "refs/heads/deep/er.lock",
		"refship/pending/.x.1.refship-tmp"}
	for _, name := range stale {
		path := filepath.Join(s.bare, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"objects/tmp_objdir-incoming-Ab12cD", "objects/incoming-Ab12cD"} {
		if err := os.MkdirAll(filepath.Join(s.bare, name, "pack"), 0o755); err != nil {
			t.Fatal(err)
		}
		stale = append(stale, name)
	}
	s.commit("a.txt", "two\n")
	laptop.push("main").ended(t, false, "not moved") // git trips over them
	if said := s.reconcile(false); len(said) != 0 {
		t.Errorf("not exclusive: %q", said)
	}
	if said := s.reconcile(true); len(said) != len(stale) {
		t.Errorf("said %q", said)
	}
	for _, name := range stale {
		if _, err := os.Lstat(filepath.Join(s.bare, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	laptop.push("main").published(t, 2)
}

// A target whose ref did not move is not deployed, and its lock is free again at once.
func TestOnlyMovedRefsArePublished(t *testing.T) {
	t.Parallel()
	site := target.Target{Name: "site", Ref: "refs/heads/site", Namespace: "/refship/site", Frontend: record.Files}
	s := newSite(t, defaultTarget, site)
	head := s.commit("a.txt", "one\n")
	lock := filepath.Join(s.bare, "refs", "heads", "site.lock")
	s.journal.When("intent-written", func() {
		if err := os.WriteFile(lock, nil, 0o644); err != nil { // git cannot move this one
			t.Error(err)
		}
	})
	r := s.user("laptop").push("main", "main:site")
	r.ended(t, false, "deployed", 1)
	if hash, _ := s.head("/refship/config"); hash != head {
		t.Errorf("config is at %q, want %s", hash, head)
	}
	if hash, _ := s.head("/refship/site"); hash != "" || s.ref("refs/heads/site") != "" {
		t.Errorf("site is at %q, its ref at %q", hash, s.ref("refs/heads/site"))
	}
	s.settled()
}

// What a killed change left does not keep the next server's repositories from being changed.
func TestReconcileRemovesAStaleConfigLock(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	left := []string{"config.lock", "config.refship", "config.refship.lock"}
	for _, name := range left {
		if err := os.WriteFile(filepath.Join(s.bare, name), []byte("[refship \"half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if said := s.reconcile(true); len(said) != 0 {
		t.Errorf("young ones, which may be in use: %q", said)
	}
	long := time.Now().Add(-time.Minute)
	for _, name := range left {
		if err := os.Chtimes(filepath.Join(s.bare, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if said := s.reconcile(false); len(said) != 0 {
		t.Errorf("not exclusive: %q", said)
	}
	if said := s.reconcile(true); len(said) != len(left) || !strings.Contains(said[0], "config.lock") {
		t.Errorf("said %q", said)
	}
	fixture.WantTidy(t, s.bare)
	if err := target.SetTarget(t.Context(), s.bare, defaultTarget); err != nil {
		t.Error(err)
	}
	// Without the first of them the others are in nobody's way.
	if err := os.WriteFile(filepath.Join(s.bare, "config.refship.lock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := target.RemoveTarget(t.Context(), s.bare, "default"); err != nil {
		t.Error(err)
	}
	fixture.WantTidy(t, s.bare)
}
