package hooks_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/record"
	"refship/hooks/report"
	"refship/hooks/target"
)

// Each push and each deploy that was asked for is told of once, as the log has it.
func TestReports(t *testing.T) {
	t.Parallel()
	www := files("www", "refs/heads/main", "www")
	s := newSite(t, www)
	laptop := s.user("laptop")
	want := func(result string, deploys int, stored bool) report.Report {
		t.Helper()
		all := s.reports.take()
		if len(all) != 1 {
			t.Fatalf("reports are %+v", all)
		}
		r := all[0]
		if r.Result != result || r.Deploys != deploys || r.Stored > 0 != stored || r.Repository != "config" || r.Took <= 0 ||
			r.LockWait > r.Took {
			t.Errorf("report is %+v, want %s, %d deploys, stored %t", r, result, deploys, stored)
		}
		if r.Kind == record.KindPush {
			if line := s.lastPush(); line["result"] != result || line["stored_bytes"] != r.Stored ||
				line["lock_wait_ms"] != r.LockWait.Milliseconds() {
				t.Errorf("report is %+v, the log has %v", r, line)
			}
		}
		return r
	}
	ask := func() error {
		return s.server.Deploy(t.Context(), nil, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"},
			func(string) {})
	}
	s.commit("www/a.txt", strings.Repeat("x", 5000))
	laptop.push("main").published(t, 1)
	if stored := want("deployed", 1, true).Stored; stored < 5000 || stored > 6000 {
		t.Errorf("stored %d bytes", stored)
	}
	laptop.push("main")
	want("nothing", 0, false)
	s.commit("b.txt", "one\n")
	laptop.push("main")
	want("unchanged", 0, false)
	if err := ask(); err != nil {
		t.Error(err)
	}
	if r := want("unchanged", 0, false); r.Kind != record.KindDeploy {
		t.Errorf("report is %+v", r)
	}
	laptop.push("main:refs/heads/x")
	want("stored", 0, false)
	s.commit("www/a.txt", "two\n")
	laptop.with("deploy.dry-run").push("main")
	want("dry-run", 0, false)
	laptop.with("deploy.skip").push("main")
	want("skipped", 0, false)
	if err := ask(); err != nil {
		t.Error(err)
	}
	want("deployed", 1, true)
	if err := ask(); err != nil {
		t.Error(err)
	}
	want("already deployed", 0, false)
	s.diverge("aside", "three\n")
	s.commit("www/a.txt", "three\n")
	laptop.push("+aside:main")
	want("refused", 0, false)
	s.git(s.work, "push", "-q", s.bare, "+aside:main")
	if err := ask(); err == nil {
		t.Error("a diverged ref was deployed")
	}
	want("refused", 0, false)
	s.git(s.work, "checkout", "-q", "main")
	s.git(s.work, "push", "-q", s.bare, "+main")
	_, left := s.leaveBehindIn(laptop, www, "four\n")
	want("not deployed", 0, true)
	if left.outcome.Undeployed == nil {
		t.Errorf("outcome is %+v", left.outcome)
	}
	if err := ask(); err != nil {
		t.Error(err)
	}
	want("deployed", 1, false) // it was stored by the push
	lock, err := s.chain(www.Namespace).Lock(t.Context(), record.Holder{User: "bob"}, time.Second,
		func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	laptop.heard = &listener{what: "held by bob", act: func() {
		time.AfterFunc(300*time.Millisecond, func() { // it waits for that long
			if err := lock.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}}
	s.commit("www/a.txt", "five\n")
	laptop.push("main").published(t, 4)
	if waited := want("deployed", 1, true).LockWait; waited < 300*time.Millisecond {
		t.Errorf("waited %s", waited)
	}
}

// leaveBehindIn is leaveBehind for another target, with a file below its path.
func (s *site) leaveBehindIn(p *pusher, target target.Target, content string) (string, result) {
	s.Helper()
	head := s.commit(target.Path+"/a.txt", content)
	hold := string(target.Namespace) + "/refship/hold"
	s.journal.When("post-receive-start", func() { s.put(hold, "not now") })
	r := p.push("main")
	s.del(hold)
	return head, r
}

// However much a push brings, its line in the log stays short.
func TestLogLinesAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	options := []string{"deploy.reason=" + strings.Repeat("ü", 4000)}
	for i := range 60 {
		options = append(options, fmt.Sprintf("x%d=%s", i, strings.Repeat("y", 2000)))
	}
	refs := []string{"main"}
	for i := range 60 {
		refs = append(refs, fmt.Sprintf("main:refs/heads/%d/%s", i, strings.Repeat("z", 200)))
	}
	laptop.with(options...).push(refs...).published(t, 1)
	line := s.lastPush()
	size := len(fmt.Sprint(line))
	if size > 50_000 {
		t.Errorf("the line has %d bytes", size)
	}
	if got := line["options"].([]string); len(got) != 51 || got[50] != "… and 11 more" ||
		!strings.HasSuffix(got[1], "y…") {
		t.Errorf("options are %q", got)
	}
	if got := line["reason"].(string); got != strings.Repeat("ü", 150)+"…" {
		t.Errorf("reason is %q", got)
	}
	if diff := cmp.Diff(61, int(line["updates"].(int64))); diff != "" {
		t.Error(diff)
	}
	if record := s.record("/refship/config"); record.Reason != strings.Repeat("ü", 4000) {
		t.Errorf("the record's reason has %d bytes", len(record.Reason))
	}
}

// nodeRuns puts what node n1 says.
func (s *site) nodeRuns(id record.ID, commit string) {
	value, err := (&record.NodeReport{Name: "n1", ID: id, Hash: record.Hash(commit), State: record.NodeRunning}).Encode()
	if err != nil {
		s.Error(err)
	}
	s.put("/refship/config/refship/node/n1", string(value))
}

// A deploy is told of at once: what lets it go on to the nodes must not wait for the pusher, who waits for them.
func TestPublishedIsToldBeforeNodesAreWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	s.put("/refship/config/refship/alive/n1", "n1")
	s.nodeRuns(1, first)
	second := s.commit("a.txt", "two\n")
	s.told = func() { s.nodeRuns(2, second) }
	r := laptop.with("deploy.wait=1m").push("main")
	if r.published(t, 2); r.outcome.Behind != nil {
		t.Error(r.outcome.Behind)
	}
}

// What waits for nodes takes no time of the push, and lets etcd's upkeep run, which it does not disturb.
func TestNodesAreWaitedForBesideUpkeep(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	first := s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 1)
	s.put("/refship/config/refship/alive/n1", "n1")
	s.nodeRuns(1, first)
	second := s.commit("a.txt", "two\n")
	const upkeep = 700 * time.Millisecond
	var all sync.WaitGroup
	waiting := laptop.with("deploy.wait=1m")
	waiting.heard = &listener{what: "0 of 1 node runs deploy 2", act: func() {
		all.Go(func() {
			done, err := s.server.Alone(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			s.nodeRuns(2, second)
			time.Sleep(upkeep)
			done()
		})
	}}
	began := time.Now()
	r := waiting.push("main")
	if r.published(t, 2); r.outcome.Behind != nil {
		t.Error(r.outcome.Behind)
	}
	whole := time.Since(began)
	all.Wait()
	if all := s.reports.take(); len(all) != 2 || all[1].Took <= 0 || all[1].Took > whole-upkeep {
		t.Errorf("of %s the pushes took: %+v", whole, all)
	}
}
