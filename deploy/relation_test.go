package deploy_test

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

func (f *setup) relation(job *deploy.Job, head *record.Deploy) (deploy.Relation, int) {
	f.Helper()
	s, ahead, err := job.Relation(f.Context(), head)
	if err != nil {
		f.Fatal(err)
	}
	return s, ahead
}

// How any two commits of a random history stand to each other, git says, too.
func TestRelationAgainstGit(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	rapid.Check(t, func(rt *rapid.T) {
		g := *f
		g.opened = nil // of a repository that has just got more commits
		var commits []tree.OID
		for n := range rapid.IntRange(2, 7).Draw(rt, "commits") {
			var parents []tree.OID
			for range rapid.IntRange(0, min(2, n)).Draw(rt, "parents") {
				parent := rapid.SampledFrom(commits).Draw(rt, "parent")
				if len(parents) == 0 || parents[0] != parent {
					parents = append(parents, parent)
				}
			}
			all := files{"web/a": regular(fmt.Sprint(rapid.IntRange(0, 1).Draw(rt, "below"))), "b": regular(fmt.Sprint(n))}
			commits = append(commits, g.repo.commit(rapid.StringMatching(`[a-z]{8}`).Draw(rt, "message"), all, parents...))
		}
		for range 4 {
			head, at := rapid.SampledFrom(commits).Draw(rt, "head"), rapid.SampledFrom(commits).Draw(rt, "at")
			path := rapid.SampledFrom([]string{"", "web"}).Draw(rt, "path")
			rec := &record.Record{Hash: record.Hash(head.String()), Path: path, Frontend: record.Files,
				Tree: g.repo.OID("rev-parse", head.String()+":"+path)}
			job := g.job(at)
			job.Path = path
			relation, ahead := g.relation(job, &record.Deploy{ID: 1, Hash: rec.Hash, Record: rec})
			want, wantAhead := g.gitRelation(head, at, path)
			if relation != want || ahead != wantAhead {
				rt.Fatalf("%s on %s (path %q): %s by %d, git says %s by %d", at, head, path, relation, ahead, want, wantAhead)
			}
		}
		_ = g.opened.Close()
	})
}

func (f *setup) gitRelation(head, at tree.OID, path string) (deploy.Relation, int) {
	ancestor := func(a, b tree.OID) bool {
		cmd := exec.Command("git", "merge-base", "--is-ancestor", a.String(), b.String())
		cmd.Dir = f.repo.Dir
		return cmd.Run() == nil
	}
	switch {
	case head == at:
		return deploy.RelationEqual, 0
	case ancestor(head, at):
		if path != "" && f.repo.Git("rev-parse", head.String()+":"+path) == f.repo.Git("rev-parse", at.String()+":"+path) {
			return deploy.RelationEqual, 0
		}
		n, _ := strconv.Atoi(f.repo.Git("rev-list", "--count", head.String()+".."+at.String()))
		return deploy.RelationAhead, n
	case ancestor(at, head):
		return deploy.RelationBehind, 0
	}
	return deploy.RelationDiverged, 0
}

func TestRelation(t *testing.T) {
	f := newSetup(t)
	line := f.line("main", 3)
	lacking := strings.Repeat("ab", 20)
	head := func(hash, path string) *record.Deploy {
		r := &record.Record{Hash: record.Hash(hash), Path: path, Frontend: record.Files, Time: time.Now()}
		return &record.Deploy{ID: 1, Hash: r.Hash, Record: r}
	}
	for name, c := range map[string]struct {
		head  *record.Deploy
		path  string
		want  deploy.Relation
		ahead int
	}{
		"nothing yet":                   {want: deploy.RelationEmpty},
		"the same":                      {head: head(line[2].String(), ""), want: deploy.RelationEqual},
		"an ancestor":                   {head: head(line[0].String(), ""), want: deploy.RelationAhead, ahead: 2},
		"the same commit, another path": {head: head(line[2].String(), "x"), want: deploy.RelationAhead},
		"an ancestor, and the path is not in": {head: head(line[0].String(), "x"), path: "x", want: deploy.RelationAhead,
			ahead: 2},
		"a commit that is not here": {head: head(lacking, ""), want: deploy.RelationUnknown},
		"a plain directory":         {head: head("tree:"+lacking, ""), want: deploy.RelationDiverged},
		"foreign without a hash":    {head: &record.Deploy{ID: 1}, want: deploy.RelationDiverged},
		"foreign with an ancestor": {head: &record.Deploy{ID: 1, Hash: record.Hash(line[1].String())},
			want: deploy.RelationAhead, ahead: 1},
		"foreign with the same": {head: &record.Deploy{ID: 1, Hash: record.Hash(line[2].String())},
			want: deploy.RelationAhead},
	} {
		t.Run(name, func(t *testing.T) {
			job := f.job(line[2])
			job.Path = c.path
			if got, ahead := f.relation(job, c.head); got != c.want || ahead != c.ahead {
				t.Errorf("%s by %d, want %s by %d", got, ahead, c.want, c.ahead)
			}
		})
	}
	job := f.mgmtJob(record.Lang, line[2])
	if got, _ := f.relation(job, &record.Deploy{ID: 1, Hash: record.Hash(line[2].String())}); got != deploy.RelationEqual {
		t.Errorf("what mgmt itself has deployed is %s", got)
	}
	missing := f.job(fixture.OID(lacking))
	if s, _, err := missing.Relation(t.Context(), head(line[0].String(), "")); err == nil {
		t.Errorf("a job's commit that does not exist stands %s", s)
	}
}
