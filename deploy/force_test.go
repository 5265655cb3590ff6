package deploy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// Whatever the table refuses can be forced, and nothing of the line below is taken for the new deploy's.
func TestForceOverridesWhatTheTableRefuses(t *testing.T) {
	f := newSetup(t)
	line, other := f.line("main", 5), f.line("other", 2)
	lacking := strings.Repeat("ab", 20)
	rec := func(hash string) *record.Record {
		return &record.Record{ID: 7, Kind: record.KindPush, Hash: record.Hash(hash), Pusher: record.Pusher{Name: "ops"},
			Time: time.Now()}
	}
	for name, c := range map[string]struct {
		head    *record.Record
		foreign string
		commit  tree.OID
		why     string // "": nothing to override
	}{
		"rewound":                      {head: rec(line[4].String()), commit: line[1], why: "does not contain it"},
		"another line":                 {head: rec(other[1].String()), commit: line[4], why: "does not contain it"},
		"a hash this repository lacks": {head: rec(lacking), commit: line[4], why: "does not have that commit"},
		"a plain directory":            {head: rec("tree:" + lacking), commit: line[4], why: "is a plain directory"},
		"foreign without a hash":       {foreign: "-", commit: line[4], why: "has no hash"},
		"an ancestor":                  {head: rec(line[1].String()), commit: line[4]},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.TB = t
			f.headKeys(c.head, c.foreign)
			job := f.job(c.commit)
			if c.foreign != "" {
				job.Frontend = record.Empty
			}
			if _, err := f.chain.Check(t.Context(), job); (err != nil) != (c.why != "") {
				t.Fatalf("without force: %v", err)
			}
			job.Force, job.Reason = true, "the line was wrong <&>"
			v, err := f.chain.Check(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			commits := 1
			if c.why == "" {
				commits = 3
				if v.Forced != nil {
					t.Errorf("forced %v", v.Forced)
				}
			} else if v.Forced == nil || !strings.Contains(v.Forced.Error(), c.why) || v.Forced.Head.ID != 7 {
				t.Errorf("forced %v, want %q", v.Forced, c.why)
			}
			before := f.objects()
			d, already, err := f.do(job)
			if err != nil || already {
				t.Fatalf("already %t, %v", already, err)
			}
			got := []any{d.ID, d.Record.Forced, d.Record.Reason, d.Record.Commits, d.Record.PreviousHash, f.objects() - before}
			if diff := cmp.Diff([]any{record.ID(8), c.why != "", job.Reason, commits, v.Head.Hash, commits}, got); diff != "" {
				t.Errorf("id, forced, reason, commits, previous hash, objects (-want +got):\n%s", diff)
			}
			f.sameAsGit(f.get(8))
		})
	}
}

// The chain goes on normally from a forced deploy, and is proven over it.
func TestAChainGoesOnAfterAForcedDeploy(t *testing.T) {
	f := newSetup(t)
	line, other := f.line("main", 2), f.line("other", 2)
	f.deploy(line[1])
	job := f.job(other[0])
	job.Force, job.Reason = true, "back to the other line"
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	if d := f.deploy(other[1]); d.Record.Forced || d.Record.Commits != 1 {
		t.Errorf("record %s", d.RecordBytes)
	}
	f.provenChain(3)
	again := f.job(other[1])
	again.Force, again.Reason = true, "again"
	if d, already, err := f.do(again); err != nil || !already || d.ID != 3 {
		t.Errorf("forcing what is deployed: already %t, %+v, %v", already, d, err)
	}
}

func TestReasons(t *testing.T) {
	f := newSetup(t)
	commit := f.one()
	for name, c := range map[string]struct {
		reason     string
		force      bool
		what, hint string
	}{
		"none":  {force: true, what: "a forced deploy needs a reason", hint: "say why"},
		"blank": {reason: " \t\n\u00a0", force: true, what: "needs a reason", hint: "say why"},
		"too long": {reason: strings.Repeat("r", 10_001), what: "reason is 10001 bytes (limit 10000)",
			hint: "shorter"},
		"too long and forced": {reason: strings.Repeat("r", 10_001), force: true, what: "10001 bytes", hint: "shorter"},
		"not UTF-8":           {reason: "caf\xe9", what: "not UTF-8", hint: "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			job := f.job(commit)
			job.Reason, job.Force = c.reason, c.force
			_, err := f.chain.Check(t.Context(), job)
			fixture.WantFault(t, fault.Refused, err, c.what, c.hint)
		})
	}
	for i, reason := range []string{"because", strings.Repeat("ü", 5000), "two\nlines\x00", "  spaces stay  "} {
		f.clear()
		job := f.job(commit)
		job.Reason, job.Force = reason, i == 0
		d, _, err := f.do(job)
		if err != nil || d.Record.Forced || f.get(1).Record.Reason != reason {
			t.Errorf("reason %.20q: %+v, %v", reason, d, err)
		}
	}
}

func TestForceOverridesNeitherHoldNorLock(t *testing.T) {
	f := newSetup(t)
	line := f.line("main", 2)
	f.deploy(line[1])
	before := f.dump()
	for name, c := range map[string]struct {
		key, value string
		check      func(t *testing.T, err error)
	}{
		"hold": {own + "hold", `{"user":"ops"}`, func(t *testing.T, err error) {
			fixture.WantFault(t, fault.Conflict, err, "is on hold by ops", "chain-held /refship/config ops")
		}},
		"lock": {own + "lock", `{"user":"ops"}`, func(t *testing.T, err error) {
			fixture.WantFault(t, fault.Conflict, err, "is locked by ops", "try again")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.TB = t
			f.put(c.key, c.value)
			defer func() {
				f.put(c.key, before[c.key])
				if before[c.key] == "" {
					f.delete(c.key)
				}
				f.unchanged(before)
			}()
			job := f.job(line[0])
			job.Force, job.Reason = true, "because"
			_, _, err := f.chain.Do(t.Context(), holder, job, 0, quiet)
			c.check(t, err)
		})
	}
}

// The author of a deploy from elsewhere is named, and how to get what it has.
func TestConflictWithAnotherServerOrRepositorySaysHowToCatchUp(t *testing.T) {
	f := newSetup(t)
	line, fork := f.line("main", 3), f.line("fork", 1)
	for name, c := range map[string]struct {
		repository, server, ref string
		hash                    string
		why, hint               string
	}{
		"another server": {"config", "b\x1b.example.org", "refs/heads/prod", fork[0].String(),
			`it came from repository config on server b\x1b.example.org, and your ` + line[2].String()[:7] +
				" does not contain it",
			`git pull --rebase URL prod, with the URL of repository config on server b\x1b.example.org; then push again`},
		"another repository": {"site", "host", "refs/heads/main", fork[0].String(),
			"it came from repository site, and your",
			"git pull --rebase URL main, with the URL of repository site; then push again"},
		"both, and the commit is not here": {"site", "b", "", strings.Repeat("ab", 20),
			"it came from repository site on server b, and this repository does not have that commit",
			"URL main, with the URL of repository site on server b"},
		"the same": {"config", "host", "refs/heads/main", fork[0].String(), `ago; your `,
			"git pull --rebase REMOTE main, then push again"},
		"a record without them": {"", "", "", fork[0].String(), `ago; your `, "git pull --rebase REMOTE main"},
	} {
		t.Run(name, func(t *testing.T) {
			f.headKeys(&record.Record{
				ID: 7, Hash: record.Hash(c.hash), Repository: c.repository, Server: c.server, Ref: c.ref, Subject: "hotfix",
				Pusher: record.Pusher{Name: "ops"}, Time: time.Now().Add(-12 * time.Minute),
			}, "")
			_, err := f.chain.Check(t.Context(), f.job(line[2]))
			wantError[*deploy.ConflictError](t, err, c.why, c.hint)
			if at := fmt.Sprintf(`/refship/config is at deploy 7, %s "hotfix", by ops, 12 minutes ago; `,
				c.hash[:7]); !strings.HasPrefix(err.Error(), at) {
				t.Errorf("%v, want %q at its start", err, at)
			}
		})
	}
}

func TestConflictWithAServerOfTheSameHostName(t *testing.T) {
	f := newSetup(t)
	line, fork := f.line("main", 3), f.line("fork", 1)
	job := f.job(fork[0])
	job.Signer = fixture.Signer(2)
	if _, _, err := f.do(job); err != nil {
		t.Fatal(err)
	}
	from := "repository config on server host with the signing key " + ssh.FingerprintSHA256(job.Signer.PublicKey())
	_, err := f.chain.Check(t.Context(), f.job(line[2]))
	wantError[*deploy.ConflictError](t, err, "it came from "+from+", and your ",
		"git pull --rebase URL main, with the URL of "+from)
	job.Commit = line[2]
	_, err = f.chain.Check(t.Context(), job) // its own
	wantError[*deploy.ConflictError](t, err, "just now; your ", "git pull --rebase REMOTE main, then")
}

func TestNothingToDoPublishesNothing(t *testing.T) {
	f := newSetup(t)
	commit := f.one()
	f.deploy(commit)
	before := f.dump()
	p, lock := f.prepare(f.job(commit))
	if d, err := p.Publish(t.Context()); err == nil || errors.Is(err, deploy.ErrLockLost) {
		t.Errorf("deploy %+v, %v", d, err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	f.unchanged(before)
}
