package hooks_test

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks/target"
)

// status is what WriteStatus prints, ages and times made constant.
func (s *site) status() string {
	s.Helper()
	var text bytes.Buffer
	if err := s.server.WriteStatus(s.Context(), &text, "config", s.bare); err != nil {
		s.Errorf("write status: %v", err)
	}
	out := regexp.MustCompile(`just now|\d+ seconds? ago`).ReplaceAllString(text.String(), "AGO")
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(out, "TIME")
}

func (s *site) wantStatus(lines ...string) {
	s.Helper()
	if diff := cmp.Diff(strings.Join(lines, "\n")+"\n", s.status()); diff != "" {
		s.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    does not exist",
		"  head   no deploy yet",
		"  state  the ref does not exist",
		"  hint   push it: git push REMOTE BRANCH:refs/heads/main")
	laptop := s.user("laptop")
	first := s.git(s.work, "rev-parse", "HEAD")
	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    "+first,
		"  head   no deploy yet",
		"  state  no deploy yet",
		"  hint   deploy it with: ssh HOST deploy config:default")
	s.asked("", "deployed", "/refship/config 1")
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    "+first,
		"  head   "+first+", deploy 1 by ops, AGO",
		"  state  equal")

	s.commit("a.txt", "two\n")
	second := s.commit("a.txt", "three\n")
	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    "+second,
		"  head   "+first+", deploy 1 by ops, AGO",
		"  state  ahead by 2 commits",
		"  hint   deploy it with: ssh HOST deploy config:default")
	third, _ := s.leaveBehind(laptop, "four\n")
	s.put("/refship/config/refship/hold",
		`{"user":"bob","host":"h","reason":"wait for the database","since":"2026-01-02T03:04:05Z"}`)
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "carol", Repository: "config",
		Ref: "refs/heads/main", Host: "h"}, time.Second, func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	if text := s.status(); !strings.Contains(text, "  ref    "+third+"\n") ||
		!strings.Contains(text, "  state  ahead by 3 commits\n") ||
		!regexp.MustCompile(`\n  hold   held by bob \(on h\) since TIME, .* ago: wait for the database\n`).MatchString(
			text) ||
		!strings.Contains(text, "  lock   locked by carol (refs/heads/main of config, on h) since TIME\n") ||
		!strings.Contains(text, "  push   a push that was broken off waits to be deployed\n") ||
		!strings.Contains(text, "  hint   nothing is deployed while the chain is held\n") {
		t.Errorf("status is\n%s", text)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	s.del("/refship/config/refship/hold")
	laptop.push("+main~1:refs/heads/other").ended(t, true, "stored")
	s.reconcile(false, 2)

	s.git(s.bare, "update-ref", "refs/heads/main", second)
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    "+second,
		"  head   "+third+", deploy 2 by laptop, AGO",
		"  state  behind",
		"  hint   bring the ref to what is deployed: git push REMOTE "+third+":refs/heads/main")
	aside := s.diverge("aside", "five\n")
	s.git(s.work, "push", "-q", s.bare, "+aside:refs/heads/main")
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    "+aside,
		"  head   "+third+", deploy 2 by laptop, AGO",
		"  state  diverged",
		"  hint   merge "+short(third)+
			" or rebase onto it, and push; or push what shall replace it with: -o deploy.force -o deploy.reason='…'")
	s.settled()
}

func TestStatusOfSeveralTargets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.wantStatus("config has no target")
	www := files("www", "refs/heads/main", "www")
	for _, one := range []target.Target{defaultTarget, www} {
		if err := target.AddTarget(t.Context(), s.bare, one); err != nil {
			t.Fatal(err)
		}
	}
	first := s.commit("www/index.html", "hello\n")
	s.user("laptop").push("main").published(t, 1, 1)
	next := s.commit("README", "read me\n")
	s.git(s.work, "push", "-q", s.bare, "main")
	s.wantStatus(
		"default: main → /refship/config",
		"  ref    "+next,
		"  head   "+first+", deploy 1 by laptop, AGO",
		"  state  ahead by 1 commit",
		"  hint   deploy it with: ssh HOST deploy config:default",
		"",
		"www: main:www → /refship/www",
		"  ref    "+next,
		"  head   "+first+", deploy 1 by laptop, AGO",
		"  state  equal")
	// A chain that cannot be read is an error, the others are told all the same.
	s.put("/refship/config/deploy/1/record", "{}")
	var text bytes.Buffer
	err := s.server.WriteStatus(t.Context(), &text, "config", s.bare)
	fixture.WantFault(t, fault.Corrupt, err, "/refship/config/deploy/1/record", "")
	if !strings.Contains(text.String(), "  state  unknown\n") || !strings.Contains(text.String(), "  state  equal\n") {
		t.Errorf("status is\n%s", text.String())
	}
	if err := s.server.WriteStatus(t.Context(), &text, "config", s.bare+".absent"); err == nil {
		t.Error("the status of a repository that is not there")
	}
}

func TestLogOfATarget(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	log := func(target string, limit int) (string, error) {
		var text bytes.Buffer
		err := s.server.WriteLog(t.Context(), &text, "config", s.bare, target, limit)
		return text.String(), err
	}
	want := func(target, advice string) { // it names the targets that there are
		t.Helper()
		text, err := log(target, 0)
		if fixture.WantFault(t, fault.Refused, err, target, advice); text != "" {
			t.Errorf("log is %q", text)
		}
	}
	if text, err := log("", 0); err != nil || text != "config has no target\n" {
		t.Errorf("log is %q, %v", text, err)
	}
	want("x", "target-none")
	www := files("www", "refs/heads/main", "www")
	if err := target.AddTarget(t.Context(), s.bare, www); err != nil {
		t.Fatal(err)
	}
	if text, err := log("", 0); err != nil || text != "/refship/www has no deploy yet\n" {
		t.Errorf("log is %q, %v", text, err)
	}
	if err := target.AddTarget(t.Context(), s.bare, defaultTarget); err != nil {
		t.Fatal(err)
	}
	want("", "default, www")
	want("x", "default, www")
	laptop := s.user("laptop")
	first := s.commit("www/index.html", "hello\n")
	laptop.push("main").published(t, 1, 1)
	second := s.commit("a.txt", "one\n")
	laptop.push("main").published(t, 2)
	text, err := log("default", 0)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "2  "+short(second)) ||
		!strings.HasPrefix(lines[1], "1  "+short(first)) {
		t.Errorf("log is %q, %v", text, err)
	}
	if text, err := log("default", 1); err != nil || text != lines[0]+"\n" && strings.Count(text, "\n") != 1 {
		t.Errorf("log is %q, %v", text, err)
	}
	if text, err := log("www", 0); err != nil || strings.Count(text, "\n") != 1 {
		t.Errorf("log is %q, %v", text, err)
	}
}

// A deploy of one target leaves the others, and what pushes left behind for them, alone.
func TestDeployOneTarget(t *testing.T) {
	t.Parallel()
	site := files("site", "refs/heads/site", "")
	s := newSite(t, defaultTarget, site)
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	for _, hold := range []string{"/refship/config/refship/hold", "/refship/site/refship/hold"} {
		defer s.del(hold)
	}
	s.journal.When("post-receive-start", func() {
		s.put("/refship/config/refship/hold", "not now")
		s.put("/refship/site/refship/hold", "not now")
	})
	r := laptop.push("main", "main:site")
	r.undeployed(t, fault.Conflict, heldReason)
	if all := refusals(r.outcome.Undeployed); len(all) != 2 {
		t.Errorf("not deployed: %q", all)
	}
	s.del("/refship/config/refship/hold")
	said, err := s.ask("site")
	fixture.WantReason(t, fault.Conflict, err, "chain-held /refship/site")
	if err == nil || strings.Count(err.Error(), "/refship/site is on hold") != 1 || said != nil {
		t.Errorf("error is %v, which names the hold not once; said %q", err, said)
	}
	s.del("/refship/site/refship/hold")

	said, err = s.ask("nothing")
	if fixture.WantFault(t, fault.Refused, err, `"nothing"`, "default, site"); said != nil {
		t.Errorf("said %q", said)
	}
	if said := s.asked("site", "deployed", "/refship/site 1"); len(said) != 2 {
		t.Errorf("said %q", said)
	}
	if rec := s.record("/refship/site"); rec.Pusher.Name != "laptop" {
		t.Errorf("record is %+v", rec)
	}
	if diff := cmp.Diff(map[string]string{"site": head, "default": ""},
		map[string]string{"site": s.heads(site)["site"], "default": s.heads(defaultTarget)["default"]}); diff != "" {
		t.Errorf("heads (-want +got):\n%s", diff)
	}
	if w := s.promised(); len(w.Deploys) != 1 {
		t.Errorf("promised is %+v", w)
	}
	if s.asked("", "deployed", "/refship/config 1"); s.heads(defaultTarget)["default"] != head {
		t.Error("the other target is not deployed")
	}
	if rec := s.record("/refship/config"); rec.Pusher.Name != "laptop" || rec.Kind != record.KindPush {
		t.Errorf("record is %+v", rec)
	}
	s.settled()
	resp, err := s.client.Get(context.Background(), "/refship/site/deploy/", clientv3.WithPrefix(),
		clientv3.WithCountOnly())
	if err != nil || resp.Count != 3 {
		t.Errorf("%d keys, %v", resp.Count, err)
	}
}
