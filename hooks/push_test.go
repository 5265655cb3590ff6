package hooks_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/hooks/target"
)

func TestPushDeploys(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	s.settled()
	if hash, id := s.head("/refship/config"); hash != first || id != 1 {
		t.Errorf("head is %d %s, want 1 %s", id, hash, first)
	}

	s.commit("b.txt", "two\n")
	s.commit("c/d.txt", "three\n")
	third := s.commit("c/e.txt", "one\n")
	r := laptop.push("main")
	r.published(t, 2)
	s.settled()
	if !r.outcome.Reached || r.outcome.Refused != nil {
		t.Errorf("outcome is %+v", r.outcome)
	}
	rec := r.outcome.Published[0].Record
	if string(rec.Hash) != third || string(rec.PreviousHash) != first || rec.Commits != 3 || rec.Files != 4 ||
		rec.Pusher != (record.Pusher{Name: "laptop", Key: laptop.key.Fingerprint(), Via: "ssh"}) ||
		rec.Kind != record.KindPush ||
		rec.Target != "default" || rec.Ref != "refs/heads/main" || rec.Repository != "config" ||
		rec.Server != "ship.example.org" {
		t.Errorf("record is %+v", rec)
	}
	steps := []string{"pre-receive-start", "checked", "locked", "prepared", "uploaded", "intent-written",
		"post-receive-start", "published", "intent-removed"}
	small := slices.Clone(steps) // a small deploy on top of another: the txn that stores it takes the lock
	small[2], small[3] = small[3], small[2]
	var mine []string
	for _, step := range s.journal.Steps() {
		if strings.Contains(strings.Join(steps, " "), step) && step != "publishing" {
			mine = append(mine, step)
		}
	}
	if diff := cmp.Diff(append(steps, small...), mine); diff != "" {
		t.Errorf("failure points (-want +got):\n%s", diff)
	}
	line := s.journal.About("push")[1]
	for _, varies := range []string{"ms", "lock_wait_ms", "push"} {
		delete(line, varies)
	}
	if stored, _ := line["stored_bytes"].(int64); stored < 500 {
		t.Errorf("stored %d bytes", stored)
	}
	delete(line, "stored_bytes")
	if diff := cmp.Diff(map[string]any{
		"msg": "push", "repository": "config", "user": "laptop", "key": laptop.key.Fingerprint(), "updates": int64(1),
		"refs": []string{"refs/heads/main"},
		"from": []string{first}, "to": []string{third}, "result": "deployed", "deploys": []string{"/refship/config 2"},
		"address": "[::1]:40000", "namespaces": []string{"/refship/config"}, "commits": int64(3), "options": []string{},
		"forced": false, "reason": "",
	}, line); diff != "" {
		t.Errorf("log line (-want +got):\n%s", diff)
	}
}

func TestAlreadyDeployedIsSaidAndNothingIsWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	s.git(s.bare, "update-ref", "-d", "refs/heads/main")
	before := s.dump()
	laptop.push("main").ended(t, true, "already deployed")
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("etcd changed:\n%s", diff)
	}
	s.settled()
	if s.ref("refs/heads/main") != first {
		t.Errorf("the ref did not move")
	}
}

func TestOtherRefsAreStored(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	laptop.key = s.key("laptop", "push:config")
	head := s.commit("a.txt", "one\n")
	laptop.push("main:refs/heads/x").ended(t, true, "stored")
	laptop.push("main:refs/heads/y", "main:refs/tags/v1", ":refs/heads/x").ended(t, true, "stored")
	if s.ref("refs/heads/y") != head || s.ref("refs/tags/v1") != head || s.ref("refs/heads/x") != "" ||
		len(s.dump()) != 0 {
		t.Errorf("refs are %s, etcd holds %v", s.refs(), s.dump())
	}

	none := newSite(t)
	none.commit("a.txt", "one\n")
	none.user("laptop").push("main").ended(t, true, "stored")
}

func TestTwoTargetsInOnePush(t *testing.T) {
	t.Parallel()
	site := target.Target{Name: "site", Ref: "refs/heads/site", Path: "www", Namespace: "/refship/site",
		Frontend: record.Files}
	s := newSite(t, defaultTarget, site)
	laptop := s.user("laptop")
	s.commit("www/index.html", "hello\n")
	head := s.commit("a.txt", "one\n")
	laptop.push("main", "main:site").published(t, 1, 1)
	for ns, files := range map[record.Namespace]int{"/refship/config": 2, "/refship/site": 1} {
		if r := s.record(ns); string(r.Hash) != head || r.Files != files {
			t.Errorf("record of %s is %+v", ns, r)
		}
	}
	s.settled()

	// One refusal refuses both, and both are told if there are two.
	s.git(s.work, "checkout", "-q", "--orphan", "other")
	s.commit("a.txt", "two\n")
	before, refs := s.dump(), s.refs()
	laptop.push("+other:site", "main:refs/heads/z").conflicts(t, "/refship/site 1")
	laptop.push("+other:site", "+other:main").conflicts(t, "/refship/config 1", "/refship/site 1")
	if diff := cmp.Diff(before, s.dump()); diff != "" || s.refs() != refs {
		t.Errorf("a refused push changed something: %s\n%s", diff, s.refs())
	}
	s.settled()
}

func TestRefusedPushesChangeNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	s.commit("a.txt", "one\n")
	base := s.commit("a.txt", "two\n")
	laptop.push("main").published(t, 1)
	next := s.commit("a.txt", "three\n")
	s.git(s.work, "tag", "-a", "-m", "version", "v1")
	s.git(s.work, "checkout", "-q", "-b", "line", "HEAD~2")
	s.commit("b.txt", "aside\n")
	reader, writer := s.user("reader"), s.user("writer")
	reader.key, writer.key = s.key("reader", "read:*"), s.key("writer", "push:*")
	option := s.user("laptop")
	option.args = []string{"-o", "deploy.forced", "-o", "ci.skip"}

	for _, c := range []struct {
		name   string
		by     *pusher
		ref    string
		kind   fault.Kind
		reason string
		prep   func()
		undo   func()
	}{
		{name: "rewound", by: laptop, ref: "+main~2:main", kind: fault.Conflict,
			reason: "commit-older push 1 /refship/config"},
		{name: "another line", by: laptop, ref: "+line:main", kind: fault.Conflict},
		{name: "only reading", by: reader, ref: "main:x", kind: fault.Refused},
		{name: "only pushing", by: writer, ref: "main", kind: fault.Refused},
		{name: "deleting", by: laptop, ref: ":main", kind: fault.Refused, reason: "push-deletes-deployed-ref config default"},
		{name: "hidden ref", by: laptop, ref: "main:refs/notes/deploys", kind: fault.Refused},
		{name: "below a target", by: writer, ref: "main:main/x", kind: fault.Refused},
		{name: "a blob", by: laptop, ref: "+main:a.txt:main", kind: fault.Refused},
		{name: "a tree", by: laptop, ref: "+main^{tree}:main", kind: fault.Refused},
		{name: "an annotated tag", by: laptop, ref: "+v1:main", kind: fault.Refused},
		{name: "option", by: option, ref: "main", kind: fault.Refused},
		{
			name: "on hold", by: laptop, ref: "main", kind: fault.Conflict, reason: heldReason,
			prep: func() { s.put("/refship/config/refship/hold", "wait") },
			undo: func() { s.del("/refship/config/refship/hold") },
		},
		{
			name: "broken configuration", by: laptop, ref: "main", kind: fault.Refused,
			prep: func() { s.git(s.bare, "config", "refship.default.frontent", "files") },
			undo: func() { s.git(s.bare, "config", "--unset", "refship.default.frontent") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prep != nil {
				c.prep()
				defer c.undo()
			}
			before, refs := s.dump(), s.refs()
			c.by.push(c.ref).refused(t, c.kind, c.reason)
			if diff := cmp.Diff(before, s.dump()); diff != "" || s.refs() != refs {
				t.Errorf("a refused push changed something: %s\n%s", diff, s.refs())
			}
			s.settled()
		})
	}
	laptop.push("main").published(t, 2)
	if r := s.record("/refship/config"); string(r.Hash) != next || string(r.PreviousHash) != base {
		t.Errorf("record is %+v", r)
	}
}

func (s *site) put(key, value string) {
	s.Helper()
	if _, err := s.client.Put(context.Background(), key, value); err != nil {
		s.Error(err)
	}
}

func (s *site) del(key string) {
	s.Helper()
	if _, err := s.client.Delete(context.Background(), key); err != nil {
		s.Error(err)
	}
}

// Where git itself refuses the ref after pre-receive has accepted, the pusher hears that nothing was deployed.
func TestRefThatGitDoesNotMove(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	lock := filepath.Join(s.bare, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := laptop.push("main")
	r.ended(t, false, "not moved")
	if len(r.outcome.Late) != 1 || !slices.Equal(r.outcome.Unmoved, []string{"refs/heads/main"}) ||
		r.outcome.Undeployed != nil {
		t.Errorf("said late: %q, not moved: %q, %v", r.outcome.Late, r.outcome.Unmoved, r.outcome.Undeployed)
	}
	if hash, _ := s.head("/refship/config"); hash != "" || s.refs() != "" {
		t.Errorf("chain is at %q, refs are %s", hash, s.refs())
	}
	s.settled()
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	laptop.push("main").published(t, 1)
	if hash, _ := s.head("/refship/config"); hash != head {
		t.Errorf("chain is at %q", hash)
	}
}

// What cannot be promised on disk is refused, with nothing published and no lock left.
func TestIntentThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	pending := filepath.Join(s.bare, "refship", "pending")
	if err := os.MkdirAll(filepath.Dir(pending), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pending, nil, 0o600); err != nil { // where the directory should be
		t.Fatal(err)
	}
	r := laptop.push("main")
	r.refused(t, fault.Failed, "")
	if strings.Contains(r.said, filepath.Join(s.bare, "refship")) {
		t.Error("the pusher reads where the repository lies")
	}
	if hash, _ := s.head("/refship/config"); hash != "" || s.refs() != "" {
		t.Errorf("chain is at %q, refs are %s", hash, s.refs())
	}
	s.settled()
	if err := os.Remove(pending); err != nil {
		t.Fatal(err)
	}
	laptop.push("main").published(t, 1)
	if hash, _ := s.head("/refship/config"); hash != head {
		t.Errorf("chain is at %q", hash)
	}
	s.settled()
}

func TestRefusedTree(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	empty := s.git(s.work, "hash-object", "-w", "-t", "blob", "/dev/null")
	s.git(s.work, "update-index", "--add", "--cacheinfo", "120000,"+empty+",link")
	s.git(s.work, "commit", "-q", "-m", "a link to nowhere")
	s.user("laptop").push("main").refused(t, fault.Refused, "")
	if len(s.dump()) != 0 || s.refs() != "" {
		t.Errorf("refs are %s, etcd holds %v", s.refs(), s.dump())
	}
}

// The tree that is recorded has the submodules' commits in it: another commit of one is a change, and makes a deploy of
// each target that it lies in.
func TestOnlyASubmoduleChanges(t *testing.T) {
	t.Parallel()
	whole, vendor, www := files("whole", "refs/heads/main", ""), files("vendor", "refs/heads/main", "vendor"),
		files("www", "refs/heads/main", "www")
	s := newSite(t, whole, vendor, www)
	laptop := s.user("laptop")
	first := s.commit("www/a.txt", "one\n")
	at := func(oid string) {
		t.Helper()
		s.git(s.work, "update-index", "--add", "--cacheinfo", "160000,"+oid+",vendor/lib")
		s.git(s.work, "commit", "-q", "-m", "the library is at "+short(oid))
	}
	at(first)
	laptop.push("main").published(t, 1, 1, 1)
	at(s.git(s.work, "rev-parse", "HEAD"))

	laptop.with("deploy.dry-run").push("main").ended(t, false, "dry-run")
	laptop.push("main").published(t, 2, 2)
	for ns, want := range map[record.Namespace]record.ID{"/refship/whole": 2, "/refship/vendor": 2, "/refship/www": 1} {
		if _, id := s.head(ns); id != want {
			t.Errorf("%s is at deploy %d, want %d", ns, id, want)
		}
	}
	s.settled()
}

// Two users push different commits on the same parent at the same moment: one wins, the other is refused by chain or
// git.
func TestRaceOfTwoPushers(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	base := s.commit("a.txt", "one\n")
	s.user("laptop").push("main").published(t, 1)
	s.git(s.work, "checkout", "-q", "-b", "left")
	left := s.commit("a.txt", "left\n")
	s.git(s.work, "checkout", "-q", "-b", "right", base)
	right := s.commit("a.txt", "right\n")

	results := make([]result, 2)
	var both sync.WaitGroup
	gate := make(chan struct{})
	for i, branch := range []string{"left", "right"} {
		p := s.user(branch)
		both.Go(func() {
			<-gate
			results[i] = p.push(branch + ":main")
		})
	}
	close(gate)
	both.Wait()
	if results[0].ok == results[1].ok {
		t.Fatalf("both pushes ended with %v", results[0].ok)
	}
	want := left
	if results[1].ok {
		want = right
	}
	if hash, id := s.head("/refship/config"); hash != want || id != 2 || s.ref("refs/heads/main") != want {
		t.Errorf("chain is at %d %s, the ref at %s, want %s", id, hash, s.ref("refs/heads/main"), want)
	}
	s.settled()
}

// The one who comes second waits for the lock, says for whom, and goes on when it is free.
func TestWaitingForTheLock(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	chain := s.chain("/refship/config")
	lock, err := chain.Lock(t.Context(), record.Holder{User: "bob", Repository: "config", Ref: "refs/heads/main",
		Host: "h"}, time.Second, func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	laptop := s.user("laptop")
	laptop.heard = &listener{what: "held by bob", times: 2, act: func() {
		if err := lock.Unlock(context.Background()); err != nil {
			t.Error(err)
		}
	}}
	r := laptop.push("main")
	r.published(t, 1)
	if waited, _ := r.log["lock_wait_ms"].(int64); waited < 1000 {
		t.Errorf("waited %d ms", waited)
	}
	s.settled()
}

func (s *site) chain(ns record.Namespace) *deploy.Chain {
	return s.store.Chain(ns)
}
