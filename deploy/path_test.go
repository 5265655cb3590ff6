package deploy_test

import (
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// A push that changes nothing below the path makes no deploy; the next one that does follows the same head.
func TestPathBelowWhichNothingChanges(t *testing.T) {
	f := newSetup(t)
	f.path = "web"
	all := files{"web/index": regular("1"), "web/sub/page": regular("p"), "other": regular("o")}
	step := func(parent ...tree.OID) tree.OID { return f.repo.commit("step", all, parent...) }
	first := f.deploy(step())
	all["other"] = regular("changed")
	beside := step(first.Hash.OID())
	all["web2"] = regular("new")
	beside2 := step(beside)
	before := f.dump()
	for name, force := range map[string]bool{"plain": false, "forced, with nothing to force": true} {
		for _, commit := range []tree.OID{beside, beside2} {
			job := f.job(commit)
			if job.Force = force; force {
				job.Reason = "because"
			}
			v, err := f.chain.Check(t.Context(), job)
			if err != nil || !v.Same || v.Already || v.Forced != nil || v.Head.ID != 1 {
				t.Fatalf("%s: %+v, %v", name, v, err)
			}
			d, already, err := f.do(job)
			if err != nil || !already || d.ID != 1 || d.Hash != first.Hash {
				t.Errorf("%s: already %t, %+v, %v", name, already, d, err)
			}
			p, lock := f.prepare(job)
			if !p.Verdict.Same {
				t.Errorf("%s: prepared %+v", name, p.Verdict)
			}
			if d, err := p.Publish(t.Context()); err == nil {
				t.Errorf("%s: published %+v", name, d)
			}
			if err := lock.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.unchanged(before)
	all["web/index"] = regular("2")
	changed := f.deploy(step(beside2))
	if changed.ID != 2 || changed.Record.Commits != 3 || changed.Record.PreviousHash != first.Hash {
		t.Errorf("record %s", changed.RecordBytes)
	}
	f.sameAsGit(changed)
	f.provenChain(2)
}

func TestPathWithTheSameBelowIsDeployedAllTheSame(t *testing.T) {
	f := newSetup(t)
	all := files{"web/index": regular("1"), "web/sub": regular("x"), "copy/index": regular("1"), "copy/sub": regular("x")}
	first := f.repo.commit("first", all)
	empty := f.repo.commit("empty", all, first)
	fork := f.repo.commit("fork", all)
	for name, c := range map[string]struct {
		commit tree.OID
		old    func(*deploy.Job) // how the head differs
		force  bool
		forced bool
	}{
		"the whole tree":      {commit: empty, old: func(j *deploy.Job) { j.Path = "" }},
		"it was another path": {commit: empty, old: func(j *deploy.Job) { j.Path = "copy" }},
		"it had another setting": {commit: empty, old: func(j *deploy.Job) {
			j.Frontend, j.Settings.Noop = record.Empty,
				true
		}},
		"it is on another history": {commit: fork, old: func(*deploy.Job) {}, force: true, forced: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.TB = t
			f.clear()
			head := f.job(first)
			head.Path = "web"
			job := *head
			c.old(head)
			job.Frontend = head.Frontend
			if head.Path == "" {
				job.Path = ""
			}
			if _, _, err := f.do(head); err != nil {
				t.Fatal(err)
			}
			job.Commit = c.commit
			if job.Force = c.force; c.force {
				job.Reason = "because"
			}
			d, already, err := f.do(&job)
			if err != nil || already || d.ID != 2 || d.Record.Forced != c.forced {
				t.Errorf("already %t, %+v, %v", already, d, err)
			}
		})
	}
}

// A mode is part of what is deployed.
func TestPathBelowWhichAModeChanges(t *testing.T) {
	f := newSetup(t)
	f.path = "web"
	first := f.deploy(f.repo.commit("first", files{"web/run": regular("x")}))
	second := f.deploy(f.repo.commit("second", files{"web/run": {"100755", "x"}}, first.Hash.OID()))
	if second.ID != 2 {
		t.Errorf("deploy %d", second.ID)
	}
}

// A conflict stays one: the same files from another history are not the same deploy.
func TestPathWithTheSameBelowOnAnotherHistoryIsRefused(t *testing.T) {
	f := newSetup(t)
	f.path = "web"
	f.deploy(f.repo.commit("first", files{"web/a": regular("x")}))
	fork := f.repo.commit("fork", files{"web/a": regular("x")})
	_, err := f.chain.Check(t.Context(), f.job(fork))
	wantError[*deploy.ConflictError](t, err, "does not contain it", "git pull")
	if !strings.Contains(err.Error(), "is at deploy 1") {
		t.Error(err)
	}
}
