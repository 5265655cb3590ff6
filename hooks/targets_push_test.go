package hooks_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks/target"
)

// heads are the heads' deploy hashes, by the last element of their namespaces.
func (s *site) heads(targets ...target.Target) map[string]string {
	s.Helper()
	heads := make(map[string]string)
	for _, t := range targets {
		at, _ := s.head(t.Namespace)
		heads[t.Name] = at
	}
	return heads
}

func files(name, ref, path string) target.Target {
	return target.Target{Name: name, Ref: ref, Path: path, Namespace: record.Namespace("/refship/" + name), Frontend: record.Files}
}

// Many targets, on one ref and on several: each line names its namespace, all are published, and one refusal refuses all.
func TestSeveralTargets(t *testing.T) {
	whole, www, other := files("whole", "refs/heads/main", ""), files("www", "refs/heads/main", "www"), files("other", "refs/heads/other", "")
	all := []target.Target{whole, www, other}
	s := newSite(t, all...)
	laptop := s.user("laptop").may("force:*")
	s.commit("www/index.html", "hello\n")
	first := s.commit("a.txt", "one\n")
	for _, atomic := range []bool{false, true} {
		if atomic {
			laptop.args = []string{"--atomic"}
			first = s.commit("www/index.html", "again\n")
		}
		r := laptop.push("main", "main:other", "main:refs/heads/third")
		r.wants(t, true, "/refship/other: config other ", "/refship/whole: config main ", "/refship/www: config main ",
			"refs/heads/third stored, not deployed", "/refship/other: deploy ", "/refship/whole: deploy ", "/refship/www: deploy ")
		if diff := cmp.Diff(map[string]string{"whole": first, "www": first, "other": first}, s.heads(all...)); diff != "" {
			t.Errorf("heads (-want +got):\n%s", diff)
		}
		if line := s.lastPush(); len(line["deploys"].([]string)) != 3 || line["result"] != "deployed" ||
			!cmp.Equal(line["namespaces"], []string{"/refship/other", "/refship/whole", "/refship/www"}) {
			t.Errorf("log line is %v", line)
		}
		s.settled()
	}

	// One target refuses: nothing at all is published, and no ref moves.
	s.git(s.work, "rm", "-q", "-r", "www")
	s.git(s.work, "commit", "-q", "-m", "without www")
	s.unchanged(func() {
		laptop.args = nil
		laptop.push("main", "main:other").wants(t, false, "refused: ", `"www"`, "hint: ")
		laptop.args = []string{"--atomic"}
		laptop.push("main:other", "main").wants(t, false, "refused: ", `"www"`, "hint: ")
	})
	s.git(s.work, "reset", "-q", "--hard", first)

	// All reasons are told at once.
	s.diverge("aside", "two\n")
	s.commit("www/index.html", "aside\n")
	s.unchanged(func() {
		r := laptop.push("+aside:main", "+aside:other")
		r.wants(t, false, "refused: /refship/other is at deploy 2", "refused: /refship/whole is at deploy 2", "refused: /refship/www is at deploy 2")
	})
	laptop.with("deploy.force", "deploy.reason=all of it").push("+aside:main", "+aside:other").wants(t, true,
		"/refship/other: warning: forced over deploy 2", "/refship/whole: warning: forced over deploy 2", "/refship/www: warning: forced over deploy 2",
		"/refship/other: deploy 3", "/refship/whole: deploy 3", "/refship/www: deploy 3")
}

// A ref that git rejects, since somebody else moved it after the client had looked: only what moved is published, and
// with --atomic nothing is.
func TestStaleRefAmongSeveral(t *testing.T) {
	main, other := files("whole", "refs/heads/main", ""), files("other", "refs/heads/other", "")
	for _, atomic := range []bool{false, true} {
		s := newSite(t, main, other)
		laptop := s.user("laptop")
		first := s.commit("a.txt", "one\n")
		laptop.push("main", "main:other").wants(t, true)
		moved := s.commit("a.txt", "theirs\n")
		s.git(s.work, "push", "-q", s.bare, moved+":refs/heads/there") // without hooks: the object is in the repository
		next := s.commit("a.txt", "two\n")
		s.journal.When("intent-written", func() { s.git(s.bare, "update-ref", "refs/heads/other", moved) })
		if atomic {
			laptop.args = []string{"--atomic"}
		}
		r := laptop.push("main", "main:other")
		want := map[string]string{"whole": next, "other": first}
		if atomic {
			want["whole"] = first
			r.wants(t, false)
			if len(r.outcome.Published) != 0 || len(r.outcome.Late) == 0 || s.lastPush()["result"] != "not moved" {
				t.Errorf("outcome is %+v, log line is %v", r.outcome, s.lastPush())
			}
		} else {
			r.wants(t, false, "/refship/whole: deploy 2 published")
			if len(r.outcome.Published) != 1 || s.lastPush()["result"] != "deployed" {
				t.Errorf("outcome is %+v, log line is %v", r.outcome, s.lastPush())
			}
		}
		if diff := cmp.Diff(want, s.heads(main, other)); diff != "" {
			t.Errorf("atomic %t: heads (-want +got):\n%s", atomic, diff)
		}
		if s.ref("refs/heads/main") != want["whole"] || s.ref("refs/heads/other") != moved || r.outcome.Undeployed != nil {
			t.Errorf("atomic %t: refs are %s, outcome is %+v", atomic, s.refs(), r.outcome)
		}
		s.settled()
	}
}

// A client that sees at once that its ref is stale sends nothing with --atomic, and the rest without it.
func TestStaleForTheClient(t *testing.T) {
	main, other := files("whole", "refs/heads/main", ""), files("other", "refs/heads/other", "")
	s := newSite(t, main, other)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main", "main:other").wants(t, true)
	s.git(s.work, "push", "-q", s.bare, "+"+s.diverge("aside", "two\n")+":refs/heads/other")
	s.git(s.work, "checkout", "-q", "main")
	next := s.commit("a.txt", "three\n")
	laptop.args = []string{"--atomic"}
	s.unchanged(func() { laptop.push("main", "main:other").wants(t, false) })
	laptop.args = nil
	laptop.push("main", "main:other").wants(t, false, "config main "+short(first)+" → "+short(next), "deploy 2 published")
	if diff := cmp.Diff(map[string]string{"whole": next, "other": first}, s.heads(main, other)); diff != "" {
		t.Errorf("heads (-want +got):\n%s", diff)
	}
}

// A commit without a target's directory is refused. What to do the program words.
func TestPathIsNotThere(t *testing.T) {
	s := newSite(t, files("www", "refs/heads/main", "site/www"))
	laptop := s.user("laptop")
	for _, name := range []string{"README", "site/README"} {
		at := s.commit(name, "read me\n")
		s.unchanged(func() {
			laptop.push("main").wants(t, false, "refused: commit "+short(at)+` has no directory "site/www", which the target www of config deploys`, "hint: path-missing config www")
		})
	}
	at := s.commit("site/www", "a file\n")
	s.unchanged(func() {
		laptop.push("main").wants(t, false, "refused: commit "+short(at)+` has no directory "site/www"`)
	})

	laptop.with("deploy.skip").push("main").wants(t, true, "stored, not deployed: deploy.skip")
	err := s.server.Deploy(t.Context(), nil, "config", s.bare, "www", record.Pusher{Name: "ops", Via: "ssh"}, func(string) {})
	if !fault.Is(err, fault.Refused) || fixture.Advice(err) != "path-missing config www" {
		t.Errorf("got %v", err)
	}
	s.git(s.work, "rm", "-q", "site/www")
	s.commit("site/www/index.html", "hello\n")
	laptop.push("main").wants(t, true, "deploy 1 published")
	s.settled()
}

// A target with a path goes on only when something below that changed; its ref moves all the same.
func TestNothingBelowThePathChanged(t *testing.T) {
	www := files("www", "refs/heads/main", "www")
	s := newSite(t, www)
	laptop := s.user("laptop")
	first := s.commit("www/index.html", "hello\n")
	laptop.push("main").wants(t, true, "deploy 1 published")
	next := s.commit("README", "read me\n")
	before := s.dump()
	said := "nothing below www changed: no deploy, /refship/www stays at deploy 1"
	r := laptop.push("main")
	r.wants(t, true, said)
	if diff := cmp.Diff(before, s.dump()); diff != "" || s.ref("refs/heads/main") != next || len(r.outcome.Published) != 0 {
		t.Errorf("ref is at %s, etcd changed:\n%s", s.ref("refs/heads/main"), diff)
	}
	if line := s.lastPush(); line["result"] != "unchanged" {
		t.Errorf("log line is %v", line)
	}
	s.settled()

	// To everybody else ref and chain are equal.
	if lines, err := s.server.Reconcile(t.Context(), "config", s.bare, true); err != nil || len(lines) != 0 {
		t.Errorf("lines are %q, %v", lines, err)
	}
	all, err := s.server.Status(t.Context(), "config", s.bare)
	if err != nil || len(all) != 1 || all[0].Relation != deploy.RelationEqual {
		t.Errorf("status is %+v, %v", all, err)
	}
	var lines []string
	err = s.server.Deploy(t.Context(), nil, "config", s.bare, "www", record.Pusher{Name: "ops", Via: "ssh"}, func(l string) { lines = append(lines, l) })
	if diff := cmp.Diff([]string{said}, lines); diff != "" || err != nil {
		t.Errorf("said (-want +got), %v:\n%s", err, diff)
	}
	if hash, id := s.head("/refship/www"); hash != first || id != 1 {
		t.Errorf("chain is at %d %s", id, hash)
	}

	// What changed below it in the end is deployed with all commits in between.
	last := s.commit("www/index.html", "hello again\n")
	laptop.push("main").wants(t, true, short(first)+" → "+short(last)+", 2 commits", "deploy 2 published")
}
