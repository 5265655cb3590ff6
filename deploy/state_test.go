package deploy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

func (f *setup) state() *record.State {
	f.Helper()
	s, err := f.chain.State(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func TestStateOfAChain(t *testing.T) {
	f := newSetup(t)
	if s := f.state(); s.Head != nil || s.Hold != nil || s.Lock != nil {
		t.Errorf("of nothing: %+v", s)
	}
	d := f.deploy(f.one())
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	hold := record.Hold{User: "ops", Host: "desk", Reason: "login <is> broken", Since: since}
	value, err := json.Marshal(hold)
	if err != nil {
		t.Fatal(err)
	}
	f.put(own+"hold", string(value))
	lock, err := f.lock(f.store, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := f.state()
	if s.Head == nil || s.Head.ID != 1 || string(s.Head.RecordBytes) != string(d.RecordBytes) {
		t.Errorf("head %+v", s.Head)
	}
	if s.Hold == nil || *s.Hold != hold {
		t.Errorf("hold %+v", s.Hold)
	}
	if s.Lock == nil || s.Lock.User != holder.User || s.Lock.Host != holder.Host || s.Lock.Since.IsZero() {
		t.Errorf("lock %+v", s.Lock)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := f.state(); s.Lock != nil {
		t.Errorf("lock %+v", s.Lock)
	}
}

// All of a state is of one revision: what comes between its two requests is not half seen.
func TestStateIsOfOneRevision(t *testing.T) {
	f := newSetup(t)
	line := f.line("main", 2)
	f.deploy(line[0])
	requests := 0
	f.tap.on(func(txn *tapTxn) (*clientv3.TxnResponse, error) {
		if requests++; requests == 2 {
			f.tap.on(nil)
			f.deploy(line[1])
			f.put(own+"hold", "later")
		}
		return txn.send()
	})
	if s := f.state(); s.Head.ID != 1 || s.Hold != nil || s.Lock != nil || requests != 2 {
		t.Errorf("%+v in %d requests", s, requests)
	}
	if s := f.state(); s.Head.ID != 2 || s.Hold.Reason != "later" {
		t.Errorf("%+v", s)
	}
}

func TestHoldSaysWhoSinceWhenAndWhy(t *testing.T) {
	f := newSetup(t)
	commit := f.one()
	since := time.Now().Add(-12 * time.Minute).UTC().Truncate(time.Second)
	stamp := since.Format(time.RFC3339)
	const held = "chain-held /refship/config"
	for name, c := range map[string]struct{ value, what, hint string }{
		"all": {
			`{"user":"ops","host":"desk","reason":"login is broken","since":"` + stamp + `"}`,
			"/refship/config is on hold by ops (on desk) since " + stamp + ", 12 minutes ago: login is broken", held + " ops",
		},
		"a terminal's escapes": {
			`{"user":"o\u001bps","host":"d\nesk","reason":"x\u001b[2J","since":"` + stamp + `"}`,
			`by o\x1bps (on d\nesk) since ` + stamp + `, 12 minutes ago: x\x1b[2J`, held + ` o\x1bps`,
		},
		"a reason only":         {`{"reason":"because"}`, "/refship/config is on hold: because", held},
		"unknown fields":        {`{"user":"ops","until":"noon"}`, "is on hold by ops", held + " ops"},
		"text":                  {"ops: login is broken\x1b[2J\xff", `is on hold: ops: login is broken\x1b[2J`, held},
		"another kind of JSON":  {`"closed"`, `is on hold: "closed"`, held},
		"an object that is not": {`{"closed":true}`, `is on hold: {"closed":true}`, held},
		"a broken date":         {`{"user":"ops","since":"noon"}`, `is on hold: {"user":"ops","since":"noon"}`, held},
		"empty":                 {"", "/refship/config is on hold", held},
		"very long":             {strings.Repeat("h", 100_000), "hhh…", held},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.TB = t
			f.put(own+"hold", c.value)
			if s := f.state(); s.Hold == nil {
				t.Error("the state has no hold")
			}
			_, err := f.chain.Check(t.Context(), f.job(commit))
			fixture.WantFault(t, fault.Conflict, err, c.what, c.hint)
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("the refusal has %d bytes: %.3000q", len(err.Error()), err)
			}
			if _, _, err := f.do(f.job(commit)); err == nil {
				t.Error("a held chain took a deploy")
			}
		})
	}
	f.delete(own + "hold")
	f.deploy(commit)
}
