package hooks_test

import (
	"context"
	"encoding/json"
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

// lastPush is the log line of the last push.
func (s *site) lastPush() map[string]any {
	s.Helper()
	lines := s.journal.About("push")
	if len(lines) == 0 {
		s.Fatal("no push in the log")
	}
	return lines[len(lines)-1]
}

// diverge commits another line of history beside what main has, and gives its head.
func (s *site) diverge(branch, content string) string {
	s.Helper()
	s.git(s.work, "checkout", "-q", "--orphan", branch)
	return s.commit("a.txt", content)
}

func TestForce(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").wants(t, true)
	other := s.diverge("other", "two\n")
	force := []string{"deploy.force", "deploy.reason=the old line is given up"}

	s.unchanged(func() {
		r := laptop.with(force...).push("+other:main")
		r.wants(t, false, "refused: laptop may deploy refs/heads/main of config but not force it", "hint: push without deploy.force; the rule force:config would allow it")
		laptop.with(force[0]).push("+other:main").wants(t, false, "refused: deploy.force needs a reason", "hint: git push -o deploy.force -o deploy.reason='…'")
	})
	laptop.may("push:*,force:config")
	s.unchanged(func() {
		r := laptop.with(append(force, "deploy.dry-run")...).push("+other:main")
		r.wants(t, false,
			"warning: would be forced over deploy 1, "+short(first), "dry run: previous hash "+first+", new hash "+other, "dry run: nothing was pushed or deployed")
		if strings.Contains(r.said, "warning: forced") {
			t.Errorf("said %s", r.said)
		}
	})
	r := laptop.with(append(force, "ci.skip")...).push("+other:main")
	r.wants(t, true, "warning: forced over deploy 1, "+short(first)+` "change a.txt", by laptop, just now (your `+short(other)+" does not contain it), reason: the old line is given up",
		"deploy 2 published in ")
	record := s.record("/refship/config")
	if !record.Forced || record.Reason != "the old line is given up" || string(record.Hash) != other || string(record.PreviousHash) != first {
		t.Errorf("record is %+v", record)
	}
	line := s.lastPush()
	if line["forced"] != true || line["reason"] != "the old line is given up" || line["result"] != "deployed" ||
		!cmp.Equal(line["options"], append(force, "ci.skip")) {
		t.Errorf("log line is %v", line)
	}
	s.settled()

	// Where nothing has to be overridden it says so, and the record is that of any other push.
	s.commit("a.txt", "three\n")
	r = laptop.with(force...).push("other:main")
	r.wants(t, true, "force was not needed", "deploy 3 published in ")
	if record := s.record("/refship/config"); record.Forced || record.Reason != "the old line is given up" {
		t.Errorf("record is %+v", record)
	}
	s.commit("a.txt", "four\n")
	laptop.with("deploy.reason=a reason alone").push("other:main").wants(t, true, "deploy 4 published in ")
	if record := s.record("/refship/config"); record.Forced || record.Reason != "a reason alone" {
		t.Errorf("record is %+v", record)
	}
}

// What force does not override: a hold, a tree that cannot be deployed, a missing permission.
func TestForceOverridesNothingElse(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop").may("force:*")
	s.commit("a.txt", "one\n")
	laptop.push("main").wants(t, true)
	s.diverge("other", "two\n")
	force := laptop.with("deploy.force", "deploy.reason=now")
	s.put("/refship/config/refship/hold", "wait")
	s.unchanged(func() { force.push("+other:main").wants(t, false, "refused: /refship/config is on hold") })
	s.del("/refship/config/refship/hold")
	empty := s.git(s.work, "hash-object", "-w", "-t", "blob", "/dev/null")
	s.git(s.work, "update-index", "--add", "--cacheinfo", "120000,"+empty+",link")
	s.git(s.work, "commit", "-q", "-m", "a link to nowhere")
	s.unchanged(func() { force.push("+other:main").wants(t, false, `symbolic link "link" has a target of 0 bytes`) })
	s.unchanged(func() {
		force.push(":main").wants(t, false, "cannot be deleted", "hint: ", "to deploy it no more, the server's operator removes the target")
	})
}

// promised is the intent that stands in the repository.
func (s *site) promised() (intent struct {
	Deploys []struct {
		Forced bool
		Over   int
		Reason string
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

// A forced push whose deploy failed is published later with its own force, reason and user; but only over the deploy that
// its user was told of.
func TestForceAcrossABrokenOffPush(t *testing.T) {
	for _, moved := range []bool{false, true} {
		t.Run(fmt.Sprintf("chain moved on %t", moved), func(t *testing.T) {
			s := newSite(t, defaultTarget)
			laptop := s.user("laptop").may("force:*")
			first := s.commit("a.txt", "one\n")
			laptop.push("main").wants(t, true)
			other := s.diverge("other", "two\n")
			const hold = "/refship/config/refship/hold"
			s.journal.When("post-receive-start", func() { s.put(hold, "not now") })
			r := laptop.with("deploy.force", "deploy.reason=why").push("+other:main")
			r.wants(t, true, "warning: forced over deploy 1", "pushed, not deployed: ", "on hold")
			s.del(hold)
			if w := s.promised().Deploys[0]; !w.Forced || w.Over != 1 || w.Reason != "why" {
				t.Errorf("promised is %+v", w)
			}
			if line := s.lastPush(); line["result"] != "not deployed" || line["reason"] != "why" {
				t.Errorf("log line is %v", line)
			}
			if moved {
				s.elsewhere(first, "three\n")
			}
			lines, err := s.server.Reconcile(t.Context(), "config", s.bare, false)
			if moved {
				if err == nil || !strings.Contains(err.Error(), "/refship/config is at deploy 2") || s.promised().Deploys[0].Over != 1 {
					t.Errorf("lines are %q, error is %v", lines, err)
				}
				return
			}
			if err != nil || len(lines) != 2 || !strings.Contains(lines[0], "warning: forced over deploy 1") {
				t.Errorf("lines are %q, error is %v", lines, err)
			}
			record := s.record("/refship/config")
			if !record.Forced || record.Reason != "why" || string(record.Hash) != other || record.Pusher.Name != "laptop" || record.ID != 2 {
				t.Errorf("record is %+v", record)
			}
			s.settled()
		})
	}
}

// A forced push that waited for the lock while another deploy landed is refused: its pusher never saw what it would
// replace. Pushed again, it overrides that one.
func TestForceOverridesOnlyWhatWasShown(t *testing.T) {
	for _, locked := range []bool{false, true} { // after the lock was taken, and while it is waited for
		s := newSite(t, defaultTarget)
		laptop := s.user("laptop").may("force:*")
		first := s.commit("a.txt", "one\n")
		laptop.push("main").wants(t, true)
		other := s.diverge("other", "two\n")
		dir, theirs := s.cloned(first, "theirs\n")
		chain := s.chain("/refship/config")
		lock, err := chain.Lock(t.Context(), record.Holder{User: "bob"}, time.Second, func(record.Holder, time.Duration) {})
		if err != nil {
			t.Fatal(err)
		}
		s.journal.When("checked", func() {
			if locked {
				time.AfterFunc(300*time.Millisecond, func() { s.publishUnderLock(lock, dir, theirs) })
				return
			}
			if err := lock.Unlock(context.Background()); err != nil {
				t.Error(err)
			}
			s.publish(dir, theirs)
		})
		force := laptop.with("deploy.force", "deploy.reason=why")
		r := force.push("+other:main")
		r.wants(t, false, "warning: forced over deploy 1", "refused: /refship/config is at deploy 2, "+short(theirs), "hint: head-since 2")
		if strings.Contains(r.said, "forced over deploy 2") {
			t.Error("it says that it was forced")
		}
		if at, id := s.head("/refship/config"); at != theirs || id != 2 || s.ref("refs/heads/main") != first {
			t.Errorf("chain is at %d %s, the ref at %s", id, at, s.ref("refs/heads/main"))
		}
		s.del("/refship/config/refship/lock")
		if err := lock.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		s.settled()
		force.push("+other:main").wants(t, true, "warning: forced over deploy 2", "deploy 3 published")
		if at, _ := s.head("/refship/config"); at != other {
			t.Errorf("chain is at %s", at)
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
		Kind: record.KindPush, Repo: repo, Commit: fixture.OID(commit), Frontend: record.Files, Repository: "config", Target: "default",
		Ref: "refs/heads/main", Pusher: record.Pusher{Name: "bob", Via: "ssh"}, Server: "elsewhere.example.org",
	}
}

func TestDryRun(t *testing.T) {
	site := target.Target{Name: "site", Ref: "refs/heads/main", Path: "www", Namespace: "/refship/site", Frontend: record.Files}
	s := newSite(t, defaultTarget, site)
	laptop := s.user("laptop")
	s.commit("www/index.html", "hello\n")
	dry := laptop.with("deploy.dry-run")
	s.unchanged(func() {
		r := dry.push("main", "main:other")
		r.wants(t, false, "/refship/config: config main → ", "/refship/site: config main → ",
			"/refship/config: dry run: previous hash none, new hash ", "/refship/config: dry run: 1 file added, 0 modified, 0 deleted", "/refship/config: A www/index.html",
			"/refship/site: dry run: 1 file added", "/refship/site: A index.html", "dry run: nothing was pushed or deployed")
		if last := r.lines[len(r.lines)-1]; last != "dry run: nothing was pushed or deployed" || strings.Contains(r.said, "refused") {
			t.Errorf("last line is %q", last)
		}
		if line := s.lastPush(); line["result"] != "dry-run" || r.outcome.Refused == nil || line["stored_bytes"] != int64(0) {
			t.Errorf("log line is %v", line)
		}
	})
	if _, err := os.Stat(filepath.Join(s.bare, "refship")); err == nil {
		t.Error("a dry run made an intent")
	}
	s.commit("b.txt", "two\n")
	first := s.commit("c.txt", "three\n")
	laptop.push("main").wants(t, true)

	s.git(s.work, "rm", "-q", "b.txt")
	for i := range 60 {
		s.commit(fmt.Sprintf("many/%02d", i), fmt.Sprintf("%d\n", i))
	}
	head := s.commit("c.txt", "four\n")
	s.unchanged(func() {
		r := dry.push("main")
		r.wants(t, false, "/refship/config: config main "+short(first)+" → "+short(head)+", 61 commits, by laptop", "/refship/site: ", "62 of 63 files changed, 61 contents new, ",
			"/refship/config: dry run: previous hash "+first+", new hash "+head, "dry run: 60 files added, 1 modified, 1 deleted", "D b.txt", "M c.txt", "A many/00", "… and ", " more",
			"dry run: nothing was pushed or deployed")
		listed := 0
		for _, l := range r.lines {
			if strings.HasPrefix(l, "/refship/config: A ") || strings.HasPrefix(l, "/refship/config: M ") || strings.HasPrefix(l, "/refship/config: D ") {
				listed++
			}
		}
		if listed != 50 || !strings.Contains(r.said, "… and 12 more") {
			t.Errorf("%d files are listed", listed)
		}
	})
	// What would be refused is refused in the same words; nothing waits for a lock.
	s.diverge("other", "two\n")
	s.unchanged(func() {
		dry.push("+other:main").wants(t, false, "refused: /refship/config is at deploy 1")
		if line := s.lastPush(); line["result"] != "refused" {
			t.Errorf("log line is %v", line)
		}
	})
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "bob"}, time.Second, func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	r := dry.push("main")
	r.wants(t, false, "dry run: nothing was pushed or deployed")
	if strings.Contains(r.said, "waiting for the chain lock") {
		t.Errorf("a dry run waited for a lock")
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	laptop.with("deploy.dry-run").may("push:*").push("main").wants(t, false, "refused: laptop may push to config but not deploy")
	laptop.push("main").wants(t, true, "/refship/config: deploy 2 published")
	s.git(s.bare, "update-ref", "-d", "refs/heads/main")
	s.unchanged(func() {
		dry.push("main").wants(t, false, "is already deployed as 2", "dry run: nothing would be deployed", "dry run: nothing was pushed or deployed")
		dry.push("main:elsewhere").wants(t, false, "dry run: nothing would be deployed", "dry run: nothing was pushed or deployed")
	})
}

func TestSkip(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	skip := laptop.with("deploy.skip", "ci.skip")
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "bob"}, time.Second, func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	r := skip.push("main", "main:refs/heads/x")
	r.wants(t, true, "refs/heads/main stored, not deployed: deploy.skip; deploy it with: ssh HOST deploy config", "refs/heads/x stored, not deployed: default deploys refs/heads/main")
	if strings.Contains(r.said, "waiting") || s.ref("refs/heads/main") != head {
		t.Errorf("ref is at %q", s.ref("refs/heads/main"))
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if line := s.lastPush(); line["result"] != "skipped" || len(s.dump()) != 0 {
		t.Errorf("log line is %v, etcd holds %v", line, s.dump())
	}
	lines, err := s.server.Reconcile(t.Context(), "config", s.bare, true)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], "not deployed by itself") || len(s.dump()) != 0 {
		t.Errorf("lines are %q, %v; etcd holds %v", lines, err, s.dump())
	}
	next := s.commit("a.txt", "two\n")
	s.unchanged(func() {
		laptop.with("deploy.skip").may("push:*").push("main").wants(t, false, "refused: laptop may push to config but not deploy")
	})
	if err := s.server.Deploy(t.Context(), nil, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"}, func(string) {}); err != nil {
		t.Error(err)
	}
	if at, id := s.head("/refship/config"); at != head || id != 1 {
		t.Errorf("chain is at %d %s", id, at)
	}
	laptop.may("deploy:*").push("main").wants(t, true, "deploy 2 published", short(next)+" replaces "+short(head))
	s.unchanged(func() { skip.push(":main").wants(t, false, "cannot be deleted") })
}

// A ref that came back to what a dead push had promised is not deployed for that.
func TestSupersededIntentsAreDropped(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head, _ := s.leaveBehind(laptop, "one\n")
	s.commit("a.txt", "two\n")
	laptop.with("deploy.skip").push("main").wants(t, true, "deploy.skip")
	s.settled()
	s.git(s.bare, "update-ref", "refs/heads/main", head)
	lines, err := s.server.Reconcile(t.Context(), "config", s.bare, true)
	if err != nil || len(lines) != 1 || !strings.Contains(lines[0], "not deployed by itself") {
		t.Errorf("lines are %q, %v", lines, err)
	}
	if at, _ := s.head("/refship/config"); at != "" {
		t.Errorf("chain is at %s", at)
	}
}

// An intent that cannot be read, and that a push's end comes across, is told of in the log.
func TestUnreadableIntentAtAPushsEnd(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	s.commit("a.txt", "one\n")
	laptop.push("main").wants(t, true)
	bad := filepath.Join(s.bare, "refship", "pending", strings.Repeat("0", 32)+".json")
	if err := os.WriteFile(bad, []byte(`{"format":1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.commit("a.txt", "two\n")
	laptop.push("main").wants(t, true, "deploy 2 published")
	if _, err := os.Stat(bad + ".bad"); err != nil {
		t.Error(err)
	}
	lines := s.journal.About("drop superseded intents")
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]["line"]), "not readable, kept as "+filepath.Base(bad)+".bad") {
		t.Errorf("log lines are %v", lines)
	}
}

// The target of an intent was taken away or changed: nothing is deployed by a rule that is not there any more.
func TestIntentOfAChangedTargetIsDropped(t *testing.T) {
	s := newSite(t, defaultTarget)
	s.leaveBehind(s.user("laptop"), "one\n")
	changed := defaultTarget
	changed.Namespace = "/refship/other"
	if err := target.SetTarget(t.Context(), s.bare, changed); err != nil {
		t.Fatal(err)
	}
	lines, err := s.server.Reconcile(t.Context(), "config", s.bare, true)
	if err != nil || len(lines) != 2 || !strings.Contains(lines[0], "left by a push of laptop: not deployed: the target default was changed or removed since") ||
		!strings.Contains(lines[1], "/refship/other has no deploy: it is not deployed by itself") {
		t.Errorf("lines are %q, %v", lines, err)
	}
	s.settled()
}

func TestRefusalsAreErrors(t *testing.T) {
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	r := s.user("laptop").with("deploy.nonsense").push("main")
	if !fault.Is(r.outcome.Refused, fault.Refused) || fault.RemedyOf(r.outcome.Refused) == "" {
		t.Errorf("refused by %v", r.outcome.Refused)
	}
}
