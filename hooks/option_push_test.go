package hooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// with pushes with these push options.
func (p *pusher) with(options ...string) *pusher {
	o := &pusher{site: p.site, key: p.key, from: p.from}
	for _, option := range options {
		o.args = append(o.args, "-o", option)
	}
	return o
}

// may gives the user other rules.
func (p *pusher) may(rules string) *pusher {
	p.Helper()
	p.key = p.site.key(p.key.Name, rules)
	return p
}

// record is the head's.
func (s *site) record(ns record.Namespace) *record.Record {
	s.Helper()
	d, err := s.chain(ns).Head(context.Background())
	if err != nil || d == nil {
		s.Fatalf("head of %s is %v, %v", ns, d, err)
	}
	return d.Record
}

// unchanged runs fn, which may change neither refs nor etcd.
func (s *site) unchanged(fn func()) {
	s.Helper()
	before, refs := s.dump(), s.refs()
	fn()
	if diff := cmp.Diff(before, s.dump()); diff != "" || s.refs() != refs {
		s.Errorf("something changed: %s\n%s", diff, s.refs())
	}
	s.settled()
}

// diverge commits another line of history beside what main has, and gives its head.
func (s *site) diverge(branch, content string) string {
	s.Helper()
	s.git(s.work, "checkout", "-q", "--orphan", branch)
	return s.commit("a.txt", content)
}

func TestForce(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	other := s.diverge("other", "two\n")
	force := []string{"deploy.force", "deploy.reason=the old line is given up"}

	s.unchanged(func() {
		laptop.with(force...).push("+other:main").refused(t, fault.Refused, "")
	})
	laptop.may("push:*,force:config")
	s.unchanged(func() {
		laptop.with(force[0]).push("+other:main").refused(t, fault.Refused, "")
		laptop.with(append(force, "deploy.dry-run")...).push("+other:main").ended(t, false, "dry-run")
	})
	laptop.with(append(force, "ci.skip")...).push("+other:main").published(t, 2)
	record := s.record("/refship/config")
	if !record.Forced || record.Reason != "the old line is given up" || string(record.Hash) != other ||
		string(record.PreviousHash) != first {
		t.Errorf("record is %+v", record)
	}
	line := s.lastPush()
	if line["forced"] != true || line["reason"] != "the old line is given up" || line["result"] != "deployed" ||
		!cmp.Equal(line["options"], append(force, "ci.skip")) {
		t.Errorf("log line is %v", line)
	}
	s.settled()

	// Where nothing has to be overridden there is no warning, and the record is that of any other push.
	s.commit("a.txt", "three\n")
	r := laptop.with(force...).push("other:main")
	r.published(t, 3)
	if strings.Contains(r.said, "warning") {
		t.Errorf("said %s", r.said)
	}
	if record := s.record("/refship/config"); record.Forced || record.Reason != "the old line is given up" {
		t.Errorf("record is %+v", record)
	}
	s.commit("a.txt", "four\n")
	laptop.with("deploy.reason=a reason alone").push("other:main").published(t, 4)
	if record := s.record("/refship/config"); record.Forced || record.Reason != "a reason alone" {
		t.Errorf("record is %+v", record)
	}
}

// What force does not override: a hold, a tree that cannot be deployed, a missing permission.
func TestForceOverridesNothingElse(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop").may("force:*")
	s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	s.diverge("other", "two\n")
	force := laptop.with("deploy.force", "deploy.reason=now")
	s.put("/refship/config/refship/hold", "wait")
	s.unchanged(func() { force.push("+other:main").refused(t, fault.Conflict, heldReason) })
	s.del("/refship/config/refship/hold")
	empty := s.git(s.work, "hash-object", "-w", "-t", "blob", "/dev/null")
	s.git(s.work, "update-index", "--add", "--cacheinfo", "120000,"+empty+",link")
	s.git(s.work, "commit", "-q", "-m", "a link to nowhere")
	s.unchanged(func() { force.push("+other:main").refused(t, fault.Refused, "") })
	s.unchanged(func() {
		force.push(":main").refused(t, fault.Refused, "push-deletes-deployed-ref config default")
	})
}

// promised is the intent that stands in the repository.
func (s *site) promised() (intent struct {
	Deploys []struct {
		Forced     bool
		ForcedHead int `json:"forced_head"`
		Reason     string
	}
}) {
	s.Helper()
	files, err := filepath.Glob(filepath.Join(s.bare, "refship", "pending", "*.json"))
	if err != nil || len(files) != 1 {
		s.Fatalf("intents are %q, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		s.Fatal(err)
	}
	if err := json.Unmarshal(text, &intent); err != nil {
		s.Fatal(err)
	}
	return intent
}

// A forced push whose deploy failed is published later with its own force, reason and user; but only over the deploy
// that its user was told of.
func TestForceAcrossABrokenOffPush(t *testing.T) {
	t.Parallel()
	for _, moved := range []bool{false, true} {
		t.Run(fmt.Sprintf("chain moved on %t", moved), func(t *testing.T) {
			s := newSite(t, defaultTarget)
			laptop := s.user("laptop").may("force:*")
			first := s.commit("a.txt", "one\n")
			laptop.push("main").published(t, 1)
			other := s.diverge("other", "two\n")
			const hold = "/refship/config/refship/hold"
			s.journal.When("post-receive-start", func() { s.put(hold, "not now") })
			laptop.with("deploy.force", "deploy.reason=why").push("+other:main").undeployed(t, fault.Conflict, heldReason)
			s.del(hold)
			if w := s.promised().Deploys[0]; !w.Forced || w.ForcedHead != 1 || w.Reason != "why" {
				t.Errorf("promised is %+v", w)
			}
			if line := s.lastPush(); line["reason"] != "why" {
				t.Errorf("log line is %v", line)
			}
			if moved {
				s.elsewhere(first, "three\n")
			}
			if moved {
				said, err := s.server.Reconcile(t.Context(), "config", s.bare, false)
				var conflict *deploy.ConflictError
				if !errors.As(err, &conflict) || conflict.Head.ID != 2 || s.promised().Deploys[0].ForcedHead != 1 {
					t.Errorf("said %q, error is %v", said, err)
				}
				return
			}
			s.reconcile(false, 2)
			record := s.record("/refship/config")
			if !record.Forced || record.Reason != "why" || string(record.Hash) != other || record.Pusher.Name != "laptop" ||
				record.ID != 2 {
				t.Errorf("record is %+v", record)
			}
			s.settled()
		})
	}
}

// A forced push that waited for the lock while another deploy landed is refused: its pusher never saw what it would
// replace. Pushed again, it overrides that one.
func TestForceOverridesOnlyWhatWasShown(t *testing.T) {
	t.Parallel()
	for _, locked := range []bool{false, true} { // after the lock was taken, and while it is waited for
		s := newSite(t, defaultTarget)
		laptop := s.user("laptop").may("force:*")
		first := s.commit("a.txt", "one\n")
		laptop.push("main").published(t, 1)
		other := s.diverge("other", "two\n")
		dir, theirs := s.cloned(first, "theirs\n")
		chain := s.chain("/refship/config")
		lock, err := chain.Lock(t.Context(), record.Holder{User: "bob"}, time.Second, func(record.Holder, time.Duration) {})
		if err != nil {
			t.Fatal(err)
		}
		force := laptop.with("deploy.force", "deploy.reason=why")
		if locked {
			force.heard = &listener{what: "held by bob", act: func() { s.publishUnderLock(lock, dir, theirs) }}
		} else {
			s.journal.When("checked", func() {
				if err := lock.Unlock(context.Background()); err != nil {
					t.Error(err)
				}
				s.publish(dir, theirs)
			})
		}
		r := force.push("+other:main")
		r.conflicts(t, "/refship/config 2")
		fixture.WantReason(t, fault.Conflict, r.outcome.Refused, "head-since 2")
		if strings.Count(r.said, "warning: ") != 1 {
			t.Error("it says that the second head was forced, too")
		}
		if at, id := s.head("/refship/config"); at != theirs || id != 2 || s.ref("refs/heads/main") != first {
			t.Errorf("chain is at %d %s, the ref at %s", id, at, s.ref("refs/heads/main"))
		}
		s.del("/refship/config/refship/lock")
		if err := lock.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		s.settled()
		force.push("+other:main").published(t, 3)
		if r := s.record("/refship/config"); string(r.Hash) != other || string(r.PreviousHash) != theirs || !r.Forced {
			t.Errorf("record is %+v", r)
		}
	}
}

// elsewhere publishes a commit on top of another as a second server on the same etcd would, and gives its oid.
func (s *site) elsewhere(on, content string) string {
	s.Helper()
	dir, next := s.cloned(on, content)
	s.publish(dir, next)
	return next
}

// cloned gives the GIT_DIR of a clone with a commit on top of another, and that commit.
func (s *site) cloned(on, content string) (gitDir, commit string) {
	s.Helper()
	dir, err := os.MkdirTemp(s.dir, "elsewhere")
	if err != nil {
		s.Fatal(err)
	}
	s.git(dir, "clone", "-q", s.work, ".")
	s.git(dir, "checkout", "-q", "-b", "theirs", on)
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
	s.git(dir, "commit", "-q", "-a", "-m", "theirs")
	return filepath.Join(dir, ".git"), s.git(dir, "rev-parse", "HEAD")
}

// publish deploys a repository's commit to /refship/config past the hooks.
func (s *site) publish(gitDir, commit string, change ...func(*deploy.Job)) {
	s.Helper()
	ctx := context.Background()
	repo, err := git.OpenRepository(ctx, gitDir, nil)
	if err != nil {
		s.Fatal(err)
	}
	defer repo.Close()
	chain := s.chain("/refship/config")
	lock, err := chain.Lock(ctx, record.Holder{User: "bob"}, time.Minute, func(record.Holder, time.Duration) {})
	if err != nil {
		s.Fatal(err)
	}
	job := jobOf(repo, commit)
	for _, fn := range change {
		fn(job)
	}
	p, err := chain.Prepare(ctx, lock, job, func(text.Progress) {})
	if err == nil {
		err = p.Upload(ctx, func(text.Progress) {})
	}
	if err == nil {
		_, err = p.Publish(ctx)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// jobOf is another server's, in the same chain.
func jobOf(repo *git.Repository, commit string) *deploy.Job {
	return &deploy.Job{
		Kind: record.KindPush, Repo: repo, Commit: fixture.OID(commit), Frontend: record.Files, Repository: "config",
		Target: "default",
		Ref:    "refs/heads/main", Pusher: record.Pusher{Name: "bob", Via: "ssh"}, Server: "elsewhere.example.org",
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	site := target.Target{Name: "site", Ref: "refs/heads/main", Path: "www", Namespace: "/refship/site",
		Frontend: record.Files}
	s := newSite(t, defaultTarget, site)
	laptop := s.user("laptop")
	s.commit("www/index.html", "hello\n")
	dry := laptop.with("deploy.dry-run")
	s.unchanged(func() {
		r := dry.push("main", "main:other")
		r.ended(t, false, "dry-run")
		if r.log["stored_bytes"] != int64(0) {
			t.Errorf("log line is %v", r.log)
		}
	})
	if _, err := os.Stat(filepath.Join(s.bare, "refship")); err == nil {
		t.Error("a dry run made an intent")
	}
	s.commit("b.txt", "two\n")
	s.commit("c.txt", "three\n")
	laptop.push("main").published(t, 1, 1)

	s.git(s.work, "rm", "-q", "b.txt")
	s.commit("c.txt", "four\n")
	s.unchanged(func() { dry.push("main").ended(t, false, "dry-run") }) // push_options.txtar has what it lists
	// What would be refused is refused in the same way; nothing waits for a lock.
	s.diverge("other", "two\n")
	s.unchanged(func() {
		r := dry.push("+other:main")
		r.ended(t, false, "refused")
		var conflict *deploy.ConflictError
		if all := refusals(r.outcome.Refused); !errors.As(all[0], &conflict) || conflict.Head.ID != 1 {
			t.Errorf("refused by %v", r.outcome.Refused)
		}
	})
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "bob"}, time.Second,
		func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	if r := dry.push("main"); r.log["result"] != "dry-run" || r.log["lock_wait_ms"] != int64(0) {
		t.Errorf("a dry run waited for a lock: %v", r.log)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	laptop.with("deploy.dry-run").may("push:*").push("main").refused(t, fault.Refused, "")
	laptop.push("main").published(t, 2)
	s.git(s.bare, "update-ref", "-d", "refs/heads/main")
	s.unchanged(func() {
		dry.push("main").ended(t, false, "dry-run")
		dry.push("main:elsewhere").ended(t, false, "dry-run")
	})
}

func TestSkip(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	skip := laptop.with("deploy.skip", "ci.skip")
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "bob"}, time.Second,
		func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	r := skip.push("main", "main:refs/heads/x")
	r.ended(t, true, "skipped")
	if r.log["lock_wait_ms"] != int64(0) || s.ref("refs/heads/main") != head || s.ref("refs/heads/x") != head {
		t.Errorf("ref is at %q", s.ref("refs/heads/main"))
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if said := s.reconcile(true); len(said) != 1 || len(s.dump()) != 0 { // that the ref is ahead
		t.Errorf("said %q; etcd holds %v", said, s.dump())
	}
	next := s.commit("a.txt", "two\n")
	s.unchanged(func() {
		laptop.with("deploy.skip").may("push:*").push("main").refused(t, fault.Refused, "")
	})
	s.asked("", "deployed", "/refship/config 1")
	if at, id := s.head("/refship/config"); at != head || id != 1 {
		t.Errorf("chain is at %d %s", id, at)
	}
	laptop.may("deploy:*").push("main").published(t, 2)
	if r := s.record("/refship/config"); string(r.Hash) != next || string(r.PreviousHash) != head {
		t.Errorf("record is %+v", r)
	}
	s.unchanged(func() { skip.push(":main").refused(t, fault.Refused, "push-deletes-deployed-ref config default") })
}

// A ref that came back to what a dead push had promised is not deployed for that.
func TestSupersededIntentsAreDropped(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head, _ := s.leaveBehind(laptop, "one\n")
	s.commit("a.txt", "two\n")
	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	s.settled()
	s.git(s.bare, "update-ref", "refs/heads/main", head)
	if said := s.reconcile(true); len(said) != 1 { // that the ref is ahead
		t.Errorf("said %q", said)
	}
	if at, _ := s.head("/refship/config"); at != "" {
		t.Errorf("chain is at %s", at)
	}
}

// An intent that cannot be read, and that a push's end comes across, is told of in the log.
func TestUnreadableIntentAtAPushsEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	bad := filepath.Join(s.bare, "refship", "pending", strings.Repeat("0", 32)+".json")
	if err := os.WriteFile(bad, []byte(`{"format":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.commit("a.txt", "two\n")
	laptop.push("main").published(t, 2)
	if _, err := os.Stat(bad + ".bad"); err != nil {
		t.Error(err)
	}
	lines := s.journal.About("drop superseded intents")
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["line"]), filepath.Base(bad)+".bad") {
		t.Errorf("log lines are %v", lines)
	}
}

// The target of an intent was taken away or changed: nothing is deployed by a rule that is not there any more.
func TestIntentOfAChangedTargetIsDropped(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.leaveBehind(s.user("laptop"), "one\n")
	before := s.dump()
	changed := defaultTarget
	changed.Namespace = "/refship/other"
	if err := target.SetTarget(t.Context(), s.bare, changed); err != nil {
		t.Fatal(err)
	}
	if said := s.reconcile(true); len(said) != 2 || len(s.dump()) != len(before) { // of the intent, and of the ref
		t.Errorf("said %q", said)
	}
	s.settled()
}
