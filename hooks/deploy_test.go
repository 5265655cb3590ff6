package hooks_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks"
)

// A deploy that a user asks for first publishes what pushes left, as their own users', and then the rest as that
// user's.
func TestDeployOnDemand(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	if said := s.asked("", "nothing"); len(said) != 1 { // that there is no ref
		t.Errorf("said %q", said)
	}

	head, _ := s.leaveBehind(laptop, "one\n")
	if said := s.asked("", "deployed", "/refship/config 1"); len(said) != 2 { // of the push, and that there is no more
		t.Errorf("said %q", said)
	}
	if r := s.record("/refship/config"); string(r.Hash) != head || r.Pusher.Name != "laptop" || r.Kind != record.KindPush {
		t.Errorf("record is %+v", r)
	}

	next := s.commit("a.txt", "two\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	if said := s.asked("", "deployed", "/refship/config 2"); len(said) != 1 {
		t.Errorf("said %q", said)
	}
	if r := s.record("/refship/config"); string(r.Hash) != next || r.Pusher != ops || r.Kind != record.KindDeploy {
		t.Errorf("record is %+v", r)
	}

	s.git(s.bare, "update-ref", "refs/heads/main", head)
	before := s.dump()
	said, err := s.ask("")
	var conflict *deploy.ConflictError
	if !errors.As(err, &conflict) || conflict.Head.ID != 2 || s.last("deploy")["result"] != "refused" || len(said) != 0 {
		t.Errorf("said %q, %v", said, err)
	}
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("etcd changed:\n%s", diff)
	}
	s.settled()
}

// What a line is made of can do nothing to the terminal of the user who asked.
func TestDeploySpeaksPlainly(t *testing.T) {
	t.Parallel()
	odd := files("odd", "refs/heads/main", "w\aw")
	s := newSite(t, odd)
	s.commit("w\aw/a.txt", "one\n")
	s.user("laptop").push("main").published(t, 1)
	s.commit("README", "read me\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	if said := s.asked("", "unchanged"); len(said) != 1 || !strings.Contains(said[0], `w\aw`) {
		t.Errorf("said %q", said)
	}
}

// rollback goes back to the first deploy, as ops.
func (s *site) rollback() {
	s.Helper()
	_, err := s.server.Rollback(s.Context(), &hooks.Rollback{
		Place: hooks.Place{Repository: "config", GitDir: s.bare, Target: defaultTarget}, Deploy: "1",
		Who: record.Pusher{Name: "ops"}, Reason: "cache broke login", Tell: func(string) {},
	})
	if err != nil {
		s.Fatal(err)
	}
}

// What was rolled back comes back only when somebody says so, whatever way it is deployed.
func TestWhatWasRolledBackStaysUndone(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"push", "force", "deploy", "reconcile", "after a lost lock"} {
		t.Run(way, func(t *testing.T) {
			s := newSite(t, defaultTarget)
			laptop := s.user("laptop")
			s.commit("a.txt", "one\n")
			laptop.push("main").published(t, 1)
			s.commit("a.txt", "two\n")
			laptop.push("main").published(t, 2)
			switch way {
			case "push":
				s.rollback()
				s.commit("a.txt", "three\n")
				laptop.push("main").refused(t, fault.Conflict, "head-undone push 3")
				laptop.with("deploy.dry-run", "deploy.again=3").push("main").ended(t, false, "dry-run")
				laptop.with("deploy.again=3").push("main").published(t, 4)
				if record := s.record("/refship/config"); record.Again != 3 {
					t.Errorf("record is %+v", record)
				}
			case "force":
				s.commit("a.txt", "three\n")
				s.journal.When("checked", func() { s.rollback() })
				r := laptop.may("force:*").with("deploy.force", "deploy.reason=why").push("main")
				r.refused(t, fault.Conflict, "head-since 3")
			case "deploy":
				s.rollback()
				_, err := s.ask("")
				fixture.WantReason(t, fault.Conflict, err, "head-undone deploy 3")
			case "reconcile":
				s.leaveBehind(laptop, "three\n")
				s.rollback()
				if said := s.reconcile(true); len(said) == 0 { // undeployed.txtar has the words
					t.Error("the intent is given up without a word")
				}
			default:
				s.commit("a.txt", "three\n")
				s.journal.When("post-receive-start", func() {
					s.del("/refship/config/refship/lock")
					s.rollback()
				})
				laptop.push("main").undeployed(t, fault.Conflict, "head-undone push 3")
				s.reconcile(true) // the intent is out of date
			}
			s.settled()
		})
	}
}
