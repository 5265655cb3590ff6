package hooks_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks/target"
)

// compared is what a target's status is to be; the words of each are in ssh_commands.txtar of cmd/refship.
type compared struct {
	relation deploy.Relation
	ahead    int
	ref      string    // "": it does not exist
	head     record.ID // 0: no deploy
	waits    bool      // a push that was broken off
}

// wantStatus wants these of the repository's targets, by name, and a status that can be printed.
func (s *site) wantStatus(want map[string]compared) {
	s.Helper()
	all, err := s.server.Status(s.Context(), "config", s.bare)
	if err != nil {
		s.Fatal(err)
	}
	got := make(map[string]compared)
	for _, st := range all {
		c := compared{relation: st.Relation, ahead: st.Ahead, waits: st.Pending}
		if !st.Ref.IsZero() {
			c.ref = st.Ref.String()
		}
		if st.Err != nil || st.State == nil {
			s.Errorf("%s: %v", st.Target.Name, st.Err)
		} else if st.State.Head != nil {
			c.head = st.State.Head.ID
		}
		got[st.Target.Name] = c
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(compared{})); diff != "" {
		s.Errorf("status (-want +got):\n%s", diff)
	}
	if err := s.server.WriteStatus(s.Context(), io.Discard, "config", s.bare); err != nil {
		s.Errorf("write status: %v", err)
	}
}

// wantDefault is wantStatus of the default target alone.
func (s *site) wantDefault(want compared) {
	s.Helper()
	s.wantStatus(map[string]compared{"default": want})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	first := s.commit("a.txt", "one\n")
	s.wantDefault(compared{})
	laptop := s.user("laptop")
	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	s.wantDefault(compared{relation: deploy.RelationEmpty, ref: first})
	s.asked("", "deployed", "/refship/config 1")
	s.wantDefault(compared{relation: deploy.RelationEqual, ref: first, head: 1})

	s.commit("a.txt", "two\n")
	second := s.commit("a.txt", "three\n")
	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	s.wantDefault(compared{relation: deploy.RelationAhead, ahead: 2, ref: second, head: 1})
	third, _ := s.leaveBehind(laptop, "four\n")
	s.put("/refship/config/refship/hold",
		`{"user":"bob","host":"h","reason":"wait for the database","since":"2026-01-02T03:04:05Z"}`)
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "carol", Repository: "config",
		Ref: "refs/heads/main", Host: "h"}, time.Second, func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	s.wantDefault(compared{relation: deploy.RelationAhead, ahead: 3, ref: third, head: 1, waits: true})
	all, err := s.server.Status(t.Context(), "config", s.bare)
	if err != nil || all[0].State.Hold == nil || all[0].State.Hold.User != "bob" || all[0].State.Lock == nil ||
		all[0].State.Lock.User != "carol" {
		t.Errorf("status is %+v, %v", all, err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	s.del("/refship/config/refship/hold")
	laptop.push("+main~1:refs/heads/other").ended(t, true, "stored")
	s.reconcile(false, 2)

	s.git(s.bare, "update-ref", "refs/heads/main", second)
	s.wantDefault(compared{relation: deploy.RelationBehind, ref: second, head: 2})
	aside := s.diverge("aside", "five\n")
	s.git(s.work, "push", "-q", s.bare, "+aside:refs/heads/main")
	s.wantDefault(compared{relation: deploy.RelationDiverged, ref: aside, head: 2})
	s.settled()
}

func TestStatusOfSeveralTargets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.wantStatus(map[string]compared{})
	www := files("www", "refs/heads/main", "www")
	for _, one := range []target.Target{defaultTarget, www} {
		if err := target.AddTarget(t.Context(), s.bare, one); err != nil {
			t.Fatal(err)
		}
	}
	s.commit("www/index.html", "hello\n")
	s.user("laptop").push("main").published(t, 1, 1)
	next := s.commit("README", "read me\n")
	s.git(s.work, "push", "-q", s.bare, "main")
	s.wantStatus(map[string]compared{
		"default": {relation: deploy.RelationAhead, ahead: 1, ref: next, head: 1},
		"www":     {relation: deploy.RelationEqual, ref: next, head: 1},
	})
	// A chain that cannot be read is an error, the others are told all the same.
	s.put("/refship/config/deploy/1/record", "{}")
	var text bytes.Buffer
	err := s.server.WriteStatus(t.Context(), &text, "config", s.bare)
	fixture.WantFault(t, fault.Corrupt, err, "/refship/config/deploy/1/record", "")
	all, err := s.server.Status(t.Context(), "config", s.bare)
	if err != nil || len(all) != 2 || !fault.Is(all[0].Err, fault.Corrupt) || all[1].Relation != deploy.RelationEqual {
		t.Errorf("status is %+v, %v", all, err)
	}
	for _, st := range all {
		if !strings.Contains(text.String(), string(st.Target.Namespace)) {
			t.Errorf("%s is not told:\n%s", st.Target.Name, text.String())
		}
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
		_, err := s.server.WriteLog(t.Context(), &text, "config", s.bare, target, limit)
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
