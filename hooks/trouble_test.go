package hooks_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// What etcd's client gives when something is wrong with etcd.
var (
	errDown = status.Error(codes.Unavailable,
		`connection error: desc = "transport: Error while dialing: dial tcp 192.0.2.1:2379: connect: connection refused"`)
	errNoLeader = rpctypes.ErrNoLeader
	errFull     = rpctypes.ErrNoSpace
	errDenied   = rpctypes.ErrPermissionDenied
)

// always fails requests of these stages, or all.
func always(err error, stages ...string) func(string) outage {
	return func(stage string) outage {
		if len(stages) > 0 && !slices.Contains(stages, stage) {
			return outage{}
		}
		return outage{before: err}
	}
}

// once lets a fault happen to the first request of a stage.
func once(stage string, what outage) func(string) outage {
	var done atomic.Bool
	return func(s string) outage {
		if s == stage && done.CompareAndSwap(false, true) {
			return what
		}
		return outage{}
	}
}

// ending is what came of a push.
type ending int

const (
	unmoved    ending = iota // refused, the ref is where it was
	undeployed               // the ref moved, and that it was not deployed is said
	deployed
)

// trouble is what happens to etcd during a push, and what comes of that.
type trouble struct {
	name  string
	at    string // the step at which it begins
	rule  func(string) outage
	ends  ending
	cause error  // if it is not deployed
	first string // what comes next without a restart: "push", "deploy" or, each in its turn, "both"
	large bool   // what is pushed takes several txns: a small deploy is stored by that which takes the lock
}

func troubles() []trouble {
	down, full, denied := etcd.ErrUnreachable, etcd.ErrFull, etcd.ErrDenied
	return []trouble{ // the longest first
		{"no leader before", "pre-receive-start", always(errNoLeader), unmoved, down, "push", false},
		{"down under the lock", "locked", always(errDown), unmoved, down, "push", true},
		{"down from the upload to the end", "uploaded", always(errDown), undeployed, down, "push", false},
		{"answer lost and down", "post-receive-start", answerLostAndDown, undeployed, down, "deploy", false},
		{"down before", "pre-receive-start", always(errDown), unmoved, down, "push", false},
		{"denied before", "pre-receive-start", always(errDenied), unmoved, denied, "both", false},
		{"down at the lock", "checked", always(errDown), unmoved, down, "push", false},
		{"lock's answer lost", "checked", once("lock", outage{after: errDown}), deployed, nil, "both", false},
		{"full at the lock", "prepared", always(errFull, "lock"), unmoved, full, "both", false},
		{"denied at the lock", "prepared", always(errDenied, "lock"), unmoved, denied, "both", false},
		{"stored, and the answer lost", "prepared", once("lock", outage{after: errDown}), deployed, nil, "both", false},
		{"down during the upload", "prepared", always(errDown), unmoved, down, "deploy", true},
		{"upload's answer lost", "prepared", once("upload", outage{after: errDown}), deployed, nil, "both", true},
		{"full during the upload", "prepared", always(errFull, "upload"), unmoved, full, "both", true},
		{"denied during the upload", "prepared", always(errDenied, "upload"), unmoved, denied, "both", true},
		{"slow", "pre-receive-start", func(string) outage { return outage{delay: 300 * time.Millisecond} }, deployed, nil,
			"push", false},
		{"very slow upload", "prepared", once("upload", outage{delay: 2200 * time.Millisecond}), deployed, nil, "deploy", true},
		{"down after the upload", "uploaded", once("publish", outage{before: errDown}), deployed, nil, "both", false},
		{"lock lost before the upload", "prepared", func(string) outage { return outage{} }, deployed, nil, "both", true},
		{"lock lost, down at the publish", "uploaded", always(errDown, "publish", "lock"), undeployed, down, "deploy", false},
		{"full at the publish", "post-receive-start", always(errFull, "publish"), undeployed, full, "both", false},
		{"denied at the publish", "post-receive-start", always(errDenied, "publish"), undeployed, denied, "both", false},
		{"leader lost at the publish", "post-receive-start", once("publish", outage{before: errNoLeader}), deployed, nil,
			"both", false},
		{"publish's answer lost", "post-receive-start", once("publish", outage{after: errDown}), deployed, nil, "both", false},
		{"full, it says, but published", "post-receive-start", once("publish", outage{after: errFull}), deployed, nil,
			"both", false},
		{"down after the publish", "published", always(errDown), deployed, nil, "push", false},
	}
}

func answerLostAndDown(stage string) outage {
	if stage == "publish" {
		return outage{after: errDown}
	}
	return outage{before: errDown}
}

// Whatever etcd does at whatever moment of a push: the ref is unmoved, or it is said that it moved; the trouble is
// named once with its remedy; and without a restart the next push, or somebody who asks for the deploy, brings ref and
// chain together, with one deploy for each commit.
func TestTroubleInEtcd(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	defer all.Wait()
	few := make(chan struct{}, 8) // at a time: they mostly wait
	for _, c := range troubles() {
		all.Go(func() {
			few <- struct{}{}
			defer func() { <-few }()
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t, defaultTarget)
				commits := []string{s.commit("a.txt", "one\n")}
				s.user("laptop").push("main").published(t, 1)
				for _, way := range []string{"deploy", "push"} {
					if c.first == way || c.first == "both" {
						commits = append(commits, s.suffer(c)...)
						commits = append(commits, s.recover(c, way)...)
					}
				}
				commits = append(commits, s.commit("a.txt", "last\n"))
				if r := s.user("laptop").push("main"); !r.ok || r.log["result"] != "deployed" {
					t.Errorf("the last push is %v", r.log)
				}
				s.deployedOnce("/refship/config", commits...)
				s.settled()
			})
		})
	}
}

// suffer pushes a commit and gives it if the ref moved.
func (s *site) suffer(c trouble) []string {
	s.Helper()
	laptop := s.user("laptop")
	before := s.ref("refs/heads/main")
	content := fmt.Sprintf("%s after %s\n", c.name, s.git(s.work, "rev-parse", "HEAD"))
	if c.large {
		content = strings.Repeat(content, etcd.BatchBytes/len(content)+1)
	}
	next := s.commit("a.txt", content)
	s.journal.When(c.at, func() {
		if strings.HasPrefix(c.name, "lock lost") {
			s.del("/refship/config/refship/lock")
		}
		s.faults.breaks(c.rule)
	})
	r := laptop.push("main")
	s.faults.heal()
	want := next
	switch c.ends {
	case unmoved:
		r.ended(s, false, "refused")
		want = before
	case undeployed:
		r.ended(s, true, "not deployed")
	case deployed:
		if head, _ := s.head("/refship/config"); !r.ok || r.log["result"] != "deployed" || head != next {
			s.Errorf("the push is %v, the chain at %s", r.log, head)
		}
	}
	if s.ref("refs/heads/main") != want {
		s.Errorf("the ref is at %s, want %s", s.ref("refs/heads/main"), want)
	}
	if err := cmp.Or(r.outcome.Refused, r.outcome.Undeployed); !errors.Is(err, c.cause) {
		s.Errorf("ended with %v, want %v", err, c.cause)
	} else if c.cause != nil {
		reason := ""
		if errors.Is(c.cause, etcd.ErrFull) {
			reason = string(etcd.ReasonQuota)
		}
		fixture.WantReason(s, fault.KindOf(c.cause), err, reason)
		if n := strings.Count(r.said, c.cause.Error()); n != 1 {
			s.Errorf("%q is said %d times\n%s", c.cause, n, r.said)
		}
	}
	return []string{next}
}

// recover brings ref and chain together, and gives what was committed for it.
func (s *site) recover(c trouble, way string) (commits []string) {
	s.Helper()
	if way == "push" {
		commits = []string{s.commit("a.txt", "recovered from "+c.name+"\n")}
		if r := s.user("laptop").push("main"); !r.ok || r.log["result"] != "deployed" {
			s.Errorf("the next push is %v", r.log)
		}
	} else if said, err := s.ask(""); err != nil {
		s.Errorf("said %q, %v", said, err)
	}
	if head, _ := s.head("/refship/config"); head != s.ref("refs/heads/main") {
		s.Errorf("chain is at %s, the ref at %s", head, s.ref("refs/heads/main"))
	}
	if r := s.record("/refship/config"); r.Pusher.Name != "laptop" {
		s.Errorf("head is by %s", r.Pusher.Name)
	}
	return commits
}

// deployedOnce checks that a chain has no deploy but of these commits, in their order, and none twice.
func (s *site) deployedOnce(ns record.Namespace, commits ...string) {
	s.Helper()
	next := len(commits)
	err := s.chain(ns).Log(s.Context(), 0, func(d *record.Deploy) error {
		at := slices.Index(commits[:next], string(d.Hash))
		if at < 0 {
			return fmt.Errorf("deploy %d is of %s: not a commit, deployed already, or out of order", d.ID, d.Hash)
		}
		next = at
		return nil
	})
	if err != nil {
		s.Error(err)
	}
}

// With several targets trouble is told once, and nobody waits for it several times.
func TestTroubleWithSeveralTargets(t *testing.T) {
	t.Parallel()
	all := []string{"a", "b", "c"}
	s := newSite(t, files("a", "refs/heads/main", ""), files("b", "refs/heads/main", ""),
		files("c", "refs/heads/main", ""))
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	s.journal.When("post-receive-start", func() { s.faults.breaks(always(errFull, "publish")) })
	r := laptop.push("main")
	s.faults.heal()
	r.undeployed(t, fault.Unavailable, string(etcd.ReasonQuota))
	// The words are judged here: no script can break etcd between two publishes.
	r.says(t, "publish to /refship/a: ", "/refship/b was not attempted after the failure above",
		"/refship/c was not attempted after the failure above")
	if n := strings.Count(r.said, etcd.ErrFull.Error()); n != 1 || !errors.Is(r.outcome.Undeployed, etcd.ErrFull) {
		t.Errorf("it is said %d times, outcome is %+v", n, r.outcome)
	}
	s.asked("", "deployed", "/refship/a 1", "/refship/b 1", "/refship/c 1")
	for _, name := range all {
		if at, id := s.head(record.Namespace("/refship/" + name)); at != head || id != 1 {
			t.Errorf("%s is at %d %s", name, id, at)
		}
	}
	s.settled()
}

// smallSite has an etcd with a quota of 16 MiB.
func smallSite(t *testing.T) *site {
	t.Helper()
	return newSiteOn(t, fixture.StartEtcd(t, embedded.Config{Quota: 16 << 20}).Client(), defaultTarget)
}

// A quota that is used up is a refusal up front, with how much is needed: not the error of whatever met it first.
func TestQuotaUsedUp(t *testing.T) {
	t.Parallel()
	for _, leased := range []bool{false, true} { // with a lease the lock meets it first, else the lease
		t.Run(fmt.Sprintf("leased %t", leased), func(t *testing.T) {
			s := smallSite(t)
			laptop := s.user("laptop")
			s.commit("a.txt", "one\n")
			if leased {
				laptop.push("main").published(t, 1)
				s.commit("a.txt", "two\n")
			}
			var err error
			for i := 0; err == nil && i < 100; i++ {
				_, err = s.client.Put(t.Context(), fmt.Sprintf("/other/%d", i), strings.Repeat("x", 1<<20))
			}
			if !errors.Is(err, rpctypes.ErrNoSpace) {
				t.Fatalf("the quota is not used up: %v", err)
			}
			before := s.ref("refs/heads/main")
			r := laptop.push("main")
			r.ended(t, false, "refused")
			if s.ref("refs/heads/main") != before {
				t.Errorf("the ref is at %s, was at %s", s.ref("refs/heads/main"), before)
			}
			const room = "this needs " // what the lock's or the lease's own error, of the same kind, does not say
			fixture.WantFault(t, fault.Unavailable, r.outcome.Refused, room, "free space")
			s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
			_, err = s.ask("")
			fixture.WantFault(t, fault.Unavailable, err, room, "free space")
		})
	}
}
