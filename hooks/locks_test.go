package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/target"
)

// Somebody who waits for a lock is refused as soon as the chain has gone where the push cannot follow, however long the
// lock is held.
func TestNobodyWaitsInVain(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		s := newSite(t, defaultTarget)
		s.server.SetLockWait(time.Hour)
		laptop := s.user("laptop")
		first := s.commit("a.txt", "one\n")
		laptop.push("main").published(t, 1)
		mine := s.commit("a.txt", "mine\n")
		chain := s.chain("/refship/config")
		bob := record.Holder{User: "bob", Repository: "config", Ref: "refs/heads/main", Host: "h"}
		lock, err := chain.Lock(t.Context(), bob, time.Second, func(record.Holder, time.Duration) {})
		if err != nil {
			t.Fatal(err)
		}
		laptop.heard = &listener{what: "held by bob", act: func() {
			// Another server deploys, and somebody has the lock at once again.
			if same {
				s.publishUnderLock(lock, filepath.Join(s.work, ".git"), mine)
			} else {
				s.publishUnderLock(lock, filepath.Join(s.work, ".git"), s.git(s.work, "commit-tree", "-p", first, "-m", "theirs",
					first+"^{tree}"))
			}
		}}
		r := laptop.push("main")
		if same {
			r.ended(t, true, "already deployed")
		} else {
			r.conflicts(t, "/refship/config 2") // it came from another server: the remedy names that
		}
		if _, held := s.dump()["/refship/config/refship/lock"]; !held {
			t.Error("the lock was given back: this test shows nothing")
		}
		s.del("/refship/config/refship/lock")
		if err := lock.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		s.settled()
	}
}

// publishUnderLock publishes a commit and keeps the lock, as if somebody else had taken it in the same moment.
func (s *site) publishUnderLock(lock *deploy.Lock, gitDir, commit string) {
	ctx := context.Background()
	s.faults.breaks(once("publish", outage{keepLock: true}))
	chain := s.chain("/refship/config")
	repo, err := git.OpenRepository(ctx, gitDir, nil)
	if err != nil {
		s.Error(err)
		return
	}
	defer repo.Close()
	p, err := chain.Prepare(ctx, lock, jobOf(repo, commit), func(text.Progress) {})
	if err == nil {
		err = p.Upload(ctx, func(text.Progress) {})
	}
	if err == nil {
		_, err = p.Publish(ctx)
	}
	if err != nil {
		s.Error(err)
	}
}

// While as many as may are reading and storing, the next push says that it waits, keeps its lock, and goes on when it
// is its turn; who breaks off meanwhile gives everything back.
func TestTurns(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	head := s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	give, err := s.server.TakeTurns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	laptop.heard = &listener{what: "waiting for other deploys", act: give}
	laptop.push("main").published(t, 1)
	if at, _ := s.head("/refship/config"); at != head {
		t.Errorf("chain is at %s", at)
	}

	if give, err = s.server.TakeTurns(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.commit("a.txt", "two\n")
	laptop.heard = &listener{what: "waiting for other deploys", act: laptop.killHook}
	laptop.push("main").ended(t, false, "refused")
	s.settled()
	// Deploys that were asked for take their turn, too.
	asked := make(chan error, 1)
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		asked <- s.server.Deploy(ctx, nil, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"}, func(string) {})
	}()
	fixture.Eventually(t, func() bool { return s.dump()["/refship/config/refship/lock"] != "" })
	stop()
	if err := <-asked; err == nil {
		t.Error("a deploy did not wait for its turn")
	}
	s.settled()
	give()
	s.asked("", "deployed", "/refship/config 2")
}

// Pushes that each take several of the same locks, in whatever order they name their refs, all come to an end.
func TestManyLocksWithoutADeadlock(t *testing.T) {
	t.Parallel()
	var targets []target.Target
	for _, name := range []string{"a", "b", "c", "d"} {
		targets = append(targets, files(name, "refs/heads/"+name, ""))
	}
	s := newSite(t, targets...)
	s.server.SetLockWait(time.Minute)
	s.commit("a.txt", "one\n")
	s.user("laptop").push("main:a", "main:b", "main:c", "main:d").published(t, 1, 1, 1, 1)
	for round := range 3 {
		var all sync.WaitGroup
		var results [7]result
		for i, refs := range [...][]string{{"a", "b"}, {"b", "a"}, {"c", "a", "d"}, {"d", "c"}, {"b", "c", "a"}, {"d", "b"},
			{"a", "b", "c", "d"}} {
			tree := s.git(s.work, "rev-parse", "HEAD^{tree}")
			commit := s.git(s.work, "commit-tree", "-p", "HEAD", "-m", fmt.Sprintf("%d of round %d", i, round), tree)
			p := s.user(fmt.Sprintf("user%d", i))
			var specs []string
			for _, ref := range refs {
				specs = append(specs, "+"+commit+":refs/heads/"+ref)
			}
			all.Go(func() { results[i] = p.push(specs...) })
		}
		all.Wait()
		checkRound(t, round, results[:])
		s.git(s.work, "fetch", "-q", s.bare, "+refs/heads/*:refs/remotes/there/*")
		s.git(s.work, "merge", "-q", "--no-edit", "there/a", "there/b", "there/c", "there/d")
	}
	for _, target := range targets {
		if at, _ := s.head(target.Namespace); at != s.ref(target.Ref) {
			t.Errorf("%s is at %s, its ref at %s", target.Namespace, at, s.ref(target.Ref))
		}
	}
	s.settled()
}

// checkRound checks that of pushes to the same refs some landed, and that the others were refused for those.
func checkRound(t *testing.T, round int, results []result) {
	t.Helper()
	landed := 0
	for i, r := range results {
		var conflict *deploy.ConflictError
		switch {
		case r.ok && len(r.outcome.Published) > 0:
			landed++
		case !r.ok && errors.As(r.outcome.Refused, &conflict):
		case !r.ok && r.outcome.Refused == nil && len(r.outcome.Late) > 0: // git itself found its ref moved, after the hook
		default:
			t.Errorf("round %d: push %d ended with %+v\n%s", round, i, r.outcome, r.said)
		}
	}
	if landed == 0 {
		t.Errorf("round %d: no push landed", round)
	}
}

// A push whose ref has moved when the chain went another way is told how to bring both together, and nothing that would
// be refused for the same reason.
func TestMovedAndOvertaken(t *testing.T) {
	t.Parallel()
	for _, known := range []bool{true, false} {
		for _, left := range []bool{false, true} {
			t.Run(fmt.Sprintf("known %t, left %t", known, left), func(t *testing.T) {
				s := newSite(t, defaultTarget)
				laptop := s.user("laptop")
				first := s.commit("a.txt", "one\n")
				laptop.push("main").published(t, 1)
				theirs := s.git(s.work, "commit-tree", "-p", first, "-m", "theirs", first+"^{tree}")
				gitDir, from := filepath.Join(s.work, ".git"), "elsewhere.example.org"
				if known {
					s.git(s.work, "push", "-q", s.bare, theirs+":refs/heads/other")
					gitDir, from = s.bare, ""
				}
				overtake := func() {
					s.publish(gitDir, theirs, func(j *deploy.Job) { j.Server = from })
				}
				if left {
					s.leaveBehind(laptop, "mine\n")
					overtake()
					_, err := s.ask("")
					fixture.WantReason(t, fault.Conflict, err, "")
				} else {
					s.commit("a.txt", "mine\n")
					s.journal.When("post-receive-start", func() {
						s.del("/refship/config/refship/lock")
						overtake()
					})
					r := laptop.push("main")
					if r.undeployed(t, fault.Conflict, ""); strings.Contains(r.said, "HOST deploy") {
						t.Errorf("said %s", r.said) // a deploy would be refused for the same reason
					}
				}

				// A merge helps, which is the remedy: ssh_commands.txtar and two_servers.txtar have its words.
				s.git(s.work, "merge", "-q", "-m", "both", theirs)
				laptop.push("main").published(t, 3)
			})
		}
	}
}
