package hooks_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/record"
)

// Whoever asks for a deploy gets what pushes left behind published as theirs, and the rest as their own.
func TestDeployOnDemand(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	ops := record.Pusher{Name: "ops", Key: "SHA256:ops", Via: "ssh"}
	ask := func() ([]string, error) {
		var said []string
		err := s.server.Deploy(t.Context(), nil, "config", s.bare, "", ops, func(line string) { said = append(said, line) })
		return said, err
	}
	said, err := ask()
	if diff := cmp.Diff([]string{"refs/heads/main of config does not exist yet: git push REMOTE BRANCH:main"}, said); diff != "" || err != nil {
		t.Errorf("said (-want +got), %v:\n%s", err, diff)
	}

	head, _ := s.leaveBehind(laptop, "one\n")
	said, err = ask()
	if diff := cmp.Diff([]string{
		"config main: left by a push of laptop: deploy 1 published: " + short(head) + " is the first",
		short(head) + " is already deployed as 1 of /refship/config",
	}, untimed(said)); diff != "" || err != nil {
		t.Errorf("said (-want +got), %v:\n%s", err, diff)
	}

	next := s.commit("a.txt", "two\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	said, err = ask()
	if len(said) != 1 || !strings.HasPrefix(said[0], "deploy 2 published in ") || err != nil {
		t.Errorf("said %q, %v", said, err)
	}
	d, err := s.chain("/refship/config").Head(t.Context())
	if err != nil || string(d.Hash) != next || d.Record.Pusher != ops || d.Record.Kind != record.KindDeploy {
		t.Errorf("head is %+v, %v", d, err)
	}

	s.git(s.bare, "update-ref", "refs/heads/main", head)
	before := s.dump()
	if said, err = ask(); err == nil || !strings.Contains(err.Error(), "/refship/config is at deploy 2") || len(said) != 0 {
		t.Errorf("said %q, %v", said, err)
	}
	if diff := cmp.Diff(before, s.dump()); diff != "" {
		t.Errorf("etcd changed:\n%s", diff)
	}
	s.settled()
}

// What a line is made of can do nothing to the terminal of whoever asked.
func TestDeploySpeaksPlainly(t *testing.T) {
	odd := files("odd", "refs/heads/main", "w\aw")
	s := newSite(t, odd)
	s.commit("w\aw/a.txt", "one\n")
	s.user("laptop").push("main").wants(t, true, "deploy 1 published")
	s.commit("README", "read me\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	var said []string
	err := s.server.Deploy(t.Context(), nil, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"}, func(line string) { said = append(said, line) })
	if diff := cmp.Diff([]string{`nothing below w\aw changed: no deploy, /refship/odd stays at deploy 1`}, said); diff != "" || err != nil {
		t.Errorf("said (-want +got), %v:\n%s", err, diff)
	}
}

// Who brings a commit back that was rolled back is told so, loudly, whichever way it comes.
func TestWhatWasRolledBackComesBackLoudly(t *testing.T) {
	for _, way := range []string{"push", "deploy", "reconcile", "after a lost lock"} {
		t.Run(way, func(t *testing.T) {
			s := newSite(t, defaultTarget)
			laptop := s.user("laptop")
			first := s.commit("a.txt", "one\n")
			laptop.push("main").wants(t, true)
			s.commit("a.txt", "two\n")
			laptop.push("main").wants(t, true)
			rollback := func() {
				s.publish(s.bare, first, func(j *deploy.Job) { j.Kind, j.Force, j.Reason = record.KindRollback, true, "cache broke login" })
			}
			const warning = "warning: deploy 3 by bob was a rollback (\"cache broke login\"), and this "
			var said []string
			switch way {
			case "push":
				rollback()
				s.commit("a.txt", "three\n")
				laptop.with("deploy.dry-run").push("main").wants(t, false, warning+"push would bring back what it undid")
				said = laptop.push("main").lines
			case "deploy":
				rollback()
				err := s.server.Deploy(t.Context(), nil, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"}, func(line string) { said = append(said, line) })
				if err != nil {
					t.Error(err)
				}
			case "reconcile":
				s.leaveBehind(laptop, "three\n")
				rollback()
				var err error
				if said, err = s.server.Reconcile(t.Context(), "config", s.bare, true); err != nil {
					t.Error(err)
				}
			default:
				s.commit("a.txt", "three\n")
				s.journal.When("post-receive-start", func() {
					s.del("/refship/config/refship/lock")
					rollback()
				})
				said = laptop.push("main").lines
			}
			if text := strings.Join(said, "\n"); strings.Count(text, warning) != 1 || !strings.Contains(text, "brings back what it undid") {
				t.Errorf("said %q", said)
			}
			if at, id := s.head("/refship/config"); at != s.ref("refs/heads/main") || id != 4 {
				t.Errorf("chain is at %d %s", id, at)
			}
			s.settled()
		})
	}
}
