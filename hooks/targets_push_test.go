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
	return target.Target{Name: name, Ref: ref, Path: path, Namespace: record.Namespace("/refship/" + name),
		Frontend: record.Files}
}

// Many targets, on one ref and on several: each line names its namespace, all are published, and one refusal refuses
// all.
func TestSeveralTargets(t *testing.T) {
	t.Parallel()
	whole, www, other := files("whole", "refs/heads/main", ""), files("www", "refs/heads/main", "www"),
		files("other", "refs/heads/other", "")
	all := []target.Target{whole, www, other}
	s := newSite(t, all...)
	laptop := s.user("laptop").may("force:*")
	s.commit("www/index.html", "hello\n")
	first := s.commit("a.txt", "one\n")
	for i, atomic := range []bool{false, true} {
		id := record.ID(i + 1)
		if atomic {
			laptop.args = []string{"--atomic"}
			first = s.commit("www/index.html", "again\n")
		}
		laptop.push("main", "main:other", "main:refs/heads/third").published(t, id, id, id)
		if diff := cmp.Diff(map[string]string{"whole": first, "www": first, "other": first}, s.heads(all...)); diff != "" {
			t.Errorf("heads (-want +got):\n%s", diff)
		}
		if line := s.lastPush(); len(line["deploys"].([]string)) != 3 ||
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
		laptop.push("main", "main:other").refused(t, fault.Refused, "path-missing config www")
		laptop.args = []string{"--atomic"}
		laptop.push("main:other", "main").refused(t, fault.Refused, "path-missing config www")
	})
	s.git(s.work, "reset", "-q", "--hard", first)

	// All reasons are told at once.
	s.diverge("aside", "two\n")
	s.commit("www/index.html", "aside\n")
	s.unchanged(func() {
		laptop.push("+aside:main", "+aside:other").conflicts(t, "/refship/other 2", "/refship/whole 2", "/refship/www 2")
	})
	r := laptop.with("deploy.force", "deploy.reason=all of it").push("+aside:main", "+aside:other")
	r.published(t, 3, 3, 3)
	for _, d := range r.outcome.Published {
		if !d.Record.Forced {
			t.Errorf("record is %+v", d.Record)
		}
	}
}

// A ref that git rejects, since somebody else moved it after the client had looked: only what moved is published, and
// with --atomic nothing is.
func TestStaleRefAmongSeveral(t *testing.T) {
	t.Parallel()
	main, other := files("whole", "refs/heads/main", ""), files("other", "refs/heads/other", "")
	for _, atomic := range []bool{false, true} {
		s := newSite(t, main, other)
		laptop := s.user("laptop")
		first := s.commit("a.txt", "one\n")
		laptop.push("main", "main:other").published(t, 1, 1)
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
			r.ended(t, false, "not moved")
			if len(r.outcome.Late) == 0 {
				t.Errorf("outcome is %+v", r.outcome)
			}
		} else {
			r.ended(t, false, "deployed", 2)
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
	t.Parallel()
	main, other := files("whole", "refs/heads/main", ""), files("other", "refs/heads/other", "")
	s := newSite(t, main, other)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main", "main:other").published(t, 1, 1)
	s.git(s.work, "push", "-q", s.bare, "+"+s.diverge("aside", "two\n")+":refs/heads/other")
	s.git(s.work, "checkout", "-q", "main")
	next := s.commit("a.txt", "three\n")
	laptop.args = []string{"--atomic"}
	s.unchanged(func() { laptop.push("main", "main:other").ended(t, false, "nothing") })
	laptop.args = nil
	laptop.push("main", "main:other").ended(t, false, "deployed", 2)
	if diff := cmp.Diff(map[string]string{"whole": next, "other": first}, s.heads(main, other)); diff != "" {
		t.Errorf("heads (-want +got):\n%s", diff)
	}
}

// A commit without a target's directory is refused. What to do the program words.
func TestPathIsNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t, files("www", "refs/heads/main", "site/www"))
	laptop := s.user("laptop")
	for _, name := range []string{"README", "site/README"} {
		s.commit(name, "read me\n")
		s.unchanged(func() { laptop.push("main").refused(t, fault.Refused, "path-missing config www") })
	}
	s.commit("site/www", "a file\n")
	s.unchanged(func() { laptop.push("main").refused(t, fault.Refused, "path-missing config www") })

	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	_, err := s.ask("www")
	fixture.WantReason(t, fault.Refused, err, "path-missing config www")
	s.git(s.work, "rm", "-q", "site/www")
	s.commit("site/www/index.html", "hello\n")
	laptop.push("main").published(t, 1)
	s.settled()
}

// A target with a path goes on only when something below that changed; its ref moves all the same.
func TestNothingBelowThePathChanged(t *testing.T) {
	t.Parallel()
	www := files("www", "refs/heads/main", "www")
	s := newSite(t, www)
	laptop := s.user("laptop")
	first := s.commit("www/index.html", "hello\n")
	laptop.push("main").published(t, 1)
	next := s.commit("README", "read me\n")
	before := s.dump()
	laptop.push("main").ended(t, true, "unchanged")
	if diff := cmp.Diff(before, s.dump()); diff != "" || s.ref("refs/heads/main") != next {
		t.Errorf("ref is at %s, etcd changed:\n%s", s.ref("refs/heads/main"), diff)
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
	if said := s.asked("www", "unchanged"); len(said) != 1 {
		t.Errorf("said %q", said)
	}
	if hash, id := s.head("/refship/www"); hash != first || id != 1 {
		t.Errorf("chain is at %d %s", id, hash)
	}

	// What changed below it in the end is deployed with all commits in between.
	last := s.commit("www/index.html", "hello again\n")
	laptop.push("main").published(t, 2)
	if r := s.record("/refship/www"); string(r.Hash) != last || string(r.PreviousHash) != first || r.Commits != 2 {
		t.Errorf("record is %+v", r)
	}
}
