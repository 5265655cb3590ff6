package hooks_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/record"
	"refship/hooks/target"
)

func TestPushDeploys(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	r := laptop.push("main")
	r.wants(t, true, "config main → "+short(first)+", the first deploy, by laptop", "1 of 1 file changed, 1 content new, ", "deploy 1 published in ", short(first)+" is the first")
	s.settled()
	if hash, id := s.head("/refship/config"); hash != first || id != 1 {
		t.Errorf("head is %d %s, want 1 %s", id, hash, first)
	}

	s.commit("b.txt", "two\n")
	s.commit("c/d.txt", "three\n")
	third := s.commit("c/e.txt", "one\n")
	r = laptop.push("main")
	r.wants(t, true,
		fmt.Sprintf("config main %s → %s, 3 commits, by laptop", short(first), short(third)),
		"3 of 4 files changed, 2 contents new, ",
		fmt.Sprintf("%s replaces %s", short(third), short(first)))
	if !regexp.MustCompile(`^deploy 2 published in \d+ ms: `).MatchString(r.lines[len(r.lines)-1]) {
		t.Errorf("last line is %q", r.lines[len(r.lines)-1])
	}
	s.settled()
	if len(r.outcome.Published) != 1 || r.outcome.Published[0].ID != 2 || !r.outcome.Reached || r.outcome.Refused != nil {
		t.Errorf("outcome is %+v", r.outcome)
	}
	rec := r.outcome.Published[0].Record
	if rec.Pusher != (record.Pusher{Name: "laptop", Key: laptop.key.Fingerprint(), Via: "ssh"}) || rec.Kind != record.KindPush ||
		rec.Target != "default" || rec.Ref != "refs/heads/main" || rec.Repository != "config" || rec.Server != "ship.example.org" {
		t.Errorf("record is %+v", rec)
	}
	steps := []string{"pre-receive-start", "checked", "locked", "prepared", "uploaded", "intent-written", "post-receive-start", "published", "intent-removed"}
	var mine []string
	for _, step := range s.journal.Steps() {
		if strings.Contains(strings.Join(steps, " "), step) && step != "publishing" {
			mine = append(mine, step)
		}
	}
	if diff := cmp.Diff(append(steps, steps...), mine); diff != "" {
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
		"msg": "push", "repository": "config", "user": "laptop", "key": laptop.key.Fingerprint(), "updates": int64(1), "refs": []string{"refs/heads/main"},
		"from": []string{first}, "to": []string{third}, "result": "deployed", "deploys": []string{"/refship/config 2"},
		"address": "[::1]:40000", "namespaces": []string{"/refship/config"}, "commits": int64(3), "options": []string{}, "forced": false, "reason": "",
	}, line); diff != "" {
		t.Errorf("log line (-want +got):\n%s", diff)
	}
}

func TestAlreadyDeployedIsSaidAndNothingIsWritten(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").wants(t, true)
	s.git(s.bare, "update-ref", "-d", "refs/heads/main")
	before := s.dump()
	r := laptop.push("main")
	r.wants(t, true, short(first)+" is already deployed as 1 of /refship/config")
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("etcd changed:\n%s", diff)
	}
	s.settled()
	if s.ref("refs/heads/main") != first {
		t.Errorf("the ref did not move")
	}
}

func TestOtherRefsAreStored(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	laptop.key = s.key("laptop", "push:config")
	head := s.commit("a.txt", "one\n")
	laptop.push("main:refs/heads/x").wants(t, true, "refs/heads/x stored, not deployed: default deploys refs/heads/main")
	laptop.push("main:refs/heads/y", "main:refs/tags/v1", ":refs/heads/x").wants(t, true, "refs/heads/x deleted", "2 refs (refs/heads/y, refs/tags/v1) stored, not deployed: default deploys refs/heads/main")
	if s.ref("refs/heads/y") != head || len(s.dump()) != 0 {
		t.Errorf("refs are %s, etcd holds %v", s.refs(), s.dump())
	}

	none := newSite(t)
	none.commit("a.txt", "one\n")
	none.user("laptop").push("main").wants(t, true, "refs/heads/main stored; this repository has no target")
}

func TestTwoTargetsInOnePush(t *testing.T) {
	site := target.Target{Name: "site", Ref: "refs/heads/site", Path: "www", Namespace: "/refship/site", Frontend: record.Files}
	s := newSite(t, defaultTarget, site)
	laptop := s.user("laptop")
	s.commit("www/index.html", "hello\n")
	head := s.commit("a.txt", "one\n")
	laptop.push("main", "main:site").wants(t, true, "/refship/config: config main → "+short(head), "/refship/site: config site → "+short(head),
		"/refship/config: 2 of 2 files changed", "/refship/site: 1 of 1 file changed", "/refship/config: deploy 1 published", "/refship/site: deploy 1 published")
	s.settled()

	// One refusal refuses both, and both reasons are told if there are two.
	s.git(s.work, "checkout", "-q", "--orphan", "other")
	s.commit("a.txt", "two\n")
	before, refs := s.dump(), s.refs()
	r := laptop.push("+other:site", "main:refs/heads/z")
	r.wants(t, false, "refused: /refship/site")
	r = laptop.push("+other:site", "+other:main")
	r.wants(t, false, "refused: /refship/config is at deploy 1", "does not contain it", "refused: ", "hint: ")
	if diff := cmp.Diff(before, s.dump()); diff != "" || s.refs() != refs {
		t.Errorf("a refused push changed something: %s\n%s", diff, s.refs())
	}
	s.settled()
}

func TestRefusedPushesChangeNothing(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	s.commit("a.txt", "one\n")
	base := s.commit("a.txt", "two\n")
	laptop.push("main").wants(t, true)
	next := s.commit("a.txt", "three\n")
	s.git(s.work, "tag", "-a", "-m", "version", "v1")
	s.git(s.work, "checkout", "-q", "-b", "line", "HEAD~2")
	s.commit("b.txt", "aside\n")
	reader, writer := s.user("reader"), s.user("writer")
	reader.key, writer.key = s.key("reader", "read:*"), s.key("writer", "push:*")
	option := s.user("laptop")
	option.args = []string{"-o", "deploy.forced", "-o", "ci.skip"}

	for _, c := range []struct {
		name  string
		by    *pusher
		ref   string
		lines []string
		prep  func()
		undo  func()
	}{
		{name: "rewound", by: laptop, ref: "+main~2:main", lines: []string{"refused: /refship/config is at deploy 1, " + short(base), "does not contain it", "hint: "}},
		{name: "another line", by: laptop, ref: "+line:main", lines: []string{"refused: /refship/config is at deploy 1", "does not contain it"}},
		{name: "only reading", by: reader, ref: "main:x", lines: []string{"refused: reader may not push to config", "hint: the rule push:config would allow it"}},
		{name: "only pushing", by: writer, ref: "main", lines: []string{"refused: writer may push to config but not deploy, and refs/heads/main is deployed", "hint: "}},
		{name: "deleting", by: laptop, ref: ":main", lines: []string{"refused: refs/heads/main of config is deployed by default and cannot be deleted", "hint: "}},
		{name: "hidden ref", by: laptop, ref: "main:refs/notes/deploys", lines: []string{"refused: refs/notes/deploys of config is refship's own", "hint: "}},
		{name: "below a target", by: writer, ref: "main:main/x", lines: []string{"refused: refs/heads/main/x of config would be in the way of refs/heads/main", "hint: "}},
		{name: "a blob", by: laptop, ref: "+main:a.txt:main", lines: []string{"refused: ", "of refs/heads/main is no commit", "hint: "}},
		{name: "a tree", by: laptop, ref: "+main^{tree}:main", lines: []string{"refused: ", "of refs/heads/main is no commit", "hint: "}},
		{name: "an annotated tag", by: laptop, ref: "+v1:main", lines: []string{"refused: ", "of refs/heads/main is no commit", "hint: of an annotated tag, push the commit that it names"}},
		{name: "option", by: option, ref: "main", lines: []string{`refused: push option "deploy.forced" is not known`, "hint: known are deploy.force, deploy.reason=TEXT, deploy.dry-run and deploy.skip"}},
		{
			name: "on hold", by: laptop, ref: "main", lines: []string{"refused: /refship/config is on hold", "hint: "},
			prep: func() { s.put("/refship/config/refship/hold", "wait") },
			undo: func() { s.del("/refship/config/refship/hold") },
		},
		{
			name: "broken configuration", by: laptop, ref: "main", lines: []string{"has the unknown setting refship.default.frontent", "hint: "},
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
			r := c.by.push(c.ref)
			r.wants(t, false, c.lines...)
			if r.outcome.Refused == nil || !r.outcome.Reached {
				t.Errorf("outcome is %+v", r.outcome)
			}
			if diff := cmp.Diff(before, s.dump()); diff != "" || s.refs() != refs {
				t.Errorf("a refused push changed something: %s\n%s", diff, s.refs())
			}
			s.settled()
		})
	}
	laptop.push("main").wants(t, true, short(next)+" replaces "+short(base))
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
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	lock := filepath.Join(s.bare, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := laptop.push("main")
	r.wants(t, false, "the first deploy")
	want := []string{
		"refship: refs/heads/main did not move: nothing was deployed",
		"refship: hint: git says why; a shallow clone is made whole by: git fetch --unshallow",
	}
	if diff := cmp.Diff(want, r.outcome.Late); diff != "" || r.outcome.Undeployed != nil {
		t.Errorf("said late (-want +got), %v:\n%s", r.outcome.Undeployed, diff)
	}
	if hash, _ := s.head("/refship/config"); hash != "" || s.refs() != "" {
		t.Errorf("chain is at %q, refs are %s", hash, s.refs())
	}
	s.settled()
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	laptop.push("main").wants(t, true, "deploy 1 published", short(head))
}

// What cannot be promised on disk is refused, with nothing published and no lock left.
func TestIntentThatCannotBeWritten(t *testing.T) {
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
	r.wants(t, false, "refused: write intent: ", "hint: the server's disk does not take it")
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
	laptop.push("main").wants(t, true, "deploy 1 published", short(head))
	s.settled()
}

func TestRefusedTree(t *testing.T) {
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	empty := s.git(s.work, "hash-object", "-w", "-t", "blob", "/dev/null")
	s.git(s.work, "update-index", "--add", "--cacheinfo", "120000,"+empty+",link")
	s.git(s.work, "commit", "-q", "-m", "a link to nowhere")
	r := s.user("laptop").push("main")
	r.wants(t, false, `symbolic link "link" has a target of 0 bytes`, "hint: ")
	if len(s.dump()) != 0 || s.refs() != "" {
		t.Errorf("refs are %s, etcd holds %v", s.refs(), s.dump())
	}
}

func TestSubmodulesAreNamed(t *testing.T) {
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	s.git(s.work, "update-index", "--add", "--cacheinfo", "160000,"+head+",vendor/lib")
	s.git(s.work, "commit", "-q", "-m", "a submodule")
	s.user("laptop").push("main").wants(t, true, "1 of 1 file and 1 submodule changed", "warning: 1 submodule is recorded only, without content: vendor/lib", "deploy 1 published")
}

// The tree that is recorded has the submodules' commits in it: another commit of one is a change, and makes a deploy of each
// target that it lies in.
func TestOnlyASubmoduleChanges(t *testing.T) {
	whole, vendor, www := files("whole", "refs/heads/main", ""), files("vendor", "refs/heads/main", "vendor"), files("www", "refs/heads/main", "www")
	s := newSite(t, whole, vendor, www)
	laptop := s.user("laptop")
	first := s.commit("www/a.txt", "one\n")
	at := func(oid string) {
		t.Helper()
		s.git(s.work, "update-index", "--add", "--cacheinfo", "160000,"+oid+",vendor/lib")
		s.git(s.work, "commit", "-q", "-m", "the library is at "+short(oid))
	}
	at(first)
	laptop.push("main").wants(t, true, "/refship/vendor: deploy 1 published", "/refship/whole: deploy 1 published", "/refship/www: deploy 1 published")
	at(s.git(s.work, "rev-parse", "HEAD"))

	r := laptop.with("deploy.dry-run").push("main")
	r.wants(t, false, "/refship/whole: 0 of 1 file and 1 submodule changed", "/refship/whole: dry run: 0 files added, 0 modified, 0 deleted, 1 submodule recorded")
	r = laptop.push("main")
	r.wants(t, true, "/refship/www: nothing below www changed: no deploy",
		"/refship/vendor: 0 of 0 files and 1 submodule changed, 0 contents new, ", "/refship/vendor: warning: 1 submodule is recorded only, without content: lib",
		"/refship/whole: 0 of 1 file and 1 submodule changed, 0 contents new, ", "/refship/whole: warning: 1 submodule is recorded only, without content: vendor/lib",
		"/refship/vendor: deploy 2 published", "/refship/whole: deploy 2 published")
	for ns, want := range map[record.Namespace]record.ID{"/refship/whole": 2, "/refship/vendor": 2, "/refship/www": 1} {
		if _, id := s.head(ns); id != want {
			t.Errorf("%s is at deploy %d, want %d", ns, id, want)
		}
	}
	s.settled()
}

// Two users push different commits on the same parent at the same moment: one wins, the other is refused by chain or git.
func TestRaceOfTwoPushers(t *testing.T) {
	s := newSite(t, defaultTarget)
	base := s.commit("a.txt", "one\n")
	s.user("laptop").push("main").wants(t, true)
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
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	chain := s.chain("/refship/config")
	lock, err := chain.Lock(t.Context(), record.Holder{User: "bob", Repository: "config", Ref: "refs/heads/main", Host: "h"}, time.Second, func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	s.journal.When("checked", func() {
		time.AfterFunc(1500*time.Millisecond, func() {
			if err := lock.Unlock(context.Background()); err != nil {
				t.Error(err)
			}
		})
	})
	r := s.user("laptop").push("main")
	r.wants(t, true, "waiting for the chain lock of /refship/config: held by bob (refs/heads/main of config, on h) since ", "deploy 1 published")
	if n := strings.Count(r.said, "waiting for"); n < 2 {
		t.Errorf("waited 1.5 s and said so %d times", n)
	}
	s.settled()
}

func (s *site) chain(ns record.Namespace) *deploy.Chain {
	return s.store.Chain(ns)
}
