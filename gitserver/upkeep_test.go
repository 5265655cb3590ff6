package gitserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/gitserver/upkeep"
)

// bare is a repository of the server, for git without the server.
func (e *env) bare(dir string) *fixture.Repository {
	return &fixture.Repository{TB: e.t, Dir: dir, Env: fixture.GitEnv(e.dir, "GIT_DIR="+dir)}
}

func (e *env) packs(dir string) int {
	e.t.Helper()
	packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack"))
	if err != nil {
		e.t.Fatal(err)
	}
	return len(packs)
}

// clone makes a work tree of a repository's main.
func (e *env) clone(dir, name string) string {
	e.t.Helper()
	work := filepath.Join(e.dir, name)
	e.mustGit(nil, e.dir, "clone", "-q", "--no-local", dir, work)
	return work
}

// TestPushesDuringUpkeep: a repository of many pushes is packed anew after the next one. Pushes that come meanwhile are
// deployed, and all of the history stays.
func TestPushesDuringUpkeep(t *testing.T) {
	const before, pushers, each = 120, 4, 4
	e := start(t)
	repo := e.repo("config")
	bare := e.bare(repo.Dir)
	bare.Packs("main", before, git.OID{})
	laptop := e.user("laptop", "deploy:config")
	var works []string
	for i := range pushers {
		works = append(works, e.clone(repo.Dir, fmt.Sprint("work", i)))
	}
	e.commit(works[0], "first", "x")
	e.mustGit(laptop, works[0], "push", "-q", e.url("config"), "main")
	pushes := make([][]*exec.Cmd, pushers) // made beforehand: that writes what ssh reads
	for i, work := range works {
		for n := range each {
			branch := "main"
			if i > 0 {
				branch = fmt.Sprintf("main:refs/heads/side%d/%d", i, n)
			}
			pushes[i] = append(pushes[i], e.gitCommand(laptop, work, "push", e.url("config"), branch))
		}
	}
	var all sync.WaitGroup
	for i, work := range works {
		all.Go(func() {
			for n, push := range pushes[i] {
				e.commit(work, fmt.Sprint("file", n), fmt.Sprint(i, n))
				if r := e.run(push); r.status != 0 {
					t.Errorf("%v: %s", push, r.stderr)
				}
			}
		})
	}
	all.Wait()
	until(t, "the upkeep", func() bool { return e.logged("upkeep") })
	if packs := e.packs(repo.Dir); packs > 50 {
		t.Errorf("%d packs are left", packs)
	}
	if d := e.head("config"); d == nil || d.ID != 1+each {
		t.Errorf("head is %+v, want deploy %d", d, 1+each)
	}
	bare.Git("fsck", "--strict")
	e.mustGit(laptop, e.dir, "clone", "-q", e.url("config"), "again")
	if n := e.mustGit(nil, filepath.Join(e.dir, "again"), "rev-list", "--count", "main"); n != fmt.Sprint(before+1+each) {
		t.Errorf("%s commits", n)
	}
	if s := e.srv.Stats(); s.UpkeepsDone == 0 || s.UpkeepsFailed > 0 {
		t.Errorf("%+v", s)
	}
}

// TestUpkeepAfterTheStart: a repository with many packs from before is packed anew without a push.
func TestUpkeepAfterTheStart(t *testing.T) {
	var dir string
	e := start(t, func(s *Server) {
		repo, err := s.cfg.Repos.Create(t.Context(), "old", git.FormatSHA1, "refs/heads/main", nil)
		if err != nil {
			t.Fatal(err)
		}
		dir = repo.Dir
		bare := &fixture.Repository{TB: t, Dir: dir, Env: fixture.GitEnv(t.TempDir(), "GIT_DIR="+dir)}
		bare.Packs("main", 60, git.OID{})
	})
	fixture.Eventually(t, func() bool { return e.logged("upkeep") })
	if packs := e.packs(dir); packs > 50 {
		t.Errorf("%d packs are left", packs)
	}
}

// mostBesideHistory is what a push to a kept repository may cost, in times that of one to a fresh clone.
const mostBesideHistory = 1.3

// BenchmarkBesideHistory: a push to a repository that 3,000 pushes came to, kept and not, against one to a fresh clone:
// medians of pushes that take turns. What is not kept is only measured.
func BenchmarkBesideHistory(b *testing.B) {
	const before, pushes = 3000, 11
	source := fixture.NewRepository(b)
	source.Packs("main", before, git.OID{})
	// history gives a server the repository, and a pusher to it.
	history := func(e *env, name string) (push func() time.Duration, dir string) {
		dir = e.repo(name).Dir
		for _, what := range []string{"objects", "refs"} {
			if err := os.CopyFS(filepath.Join(dir, what), os.DirFS(filepath.Join(source.Dir, what))); err != nil {
				b.Fatal(err)
			}
		}
		work, key := e.clone(source.Dir, "work-"+name), e.user(name, "deploy:*")
		return func() time.Duration {
			e.commit(work, "file", time.Now().String())
			began := time.Now()
			e.mustGit(key, work, "push", "-q", e.url(name), "main")
			return time.Since(began)
		}, dir
	}
	for b.Loop() {
		e := start(b)
		idle := start(b, func(s *Server) {
			s.keeper = upkeep.New(upkeep.Config{Log: s.log, Memory: func(ctx context.Context, _ string) (int64, func(), error) {
				<-ctx.Done()
				return 0, nil, ctx.Err()
			}})
		})
		unkept, _ := history(idle, "unkept")
		kept, dir := history(e, "kept")
		fresh, packed := history(e, "fresh")
		e.bare(packed).Git("repack", "-adq")
		kept()
		until(b, "the upkeep", func() bool { return e.logged("upkeep") })
		var times [3][]time.Duration
		for range pushes {
			for i, push := range []func() time.Duration{fresh, kept, unkept} {
				times[i] = append(times[i], push())
			}
		}
		for i := range times {
			slices.Sort(times[i])
		}
		alone := times[0][pushes/2]
		b.ReportMetric(float64(alone.Milliseconds()), "ms-fresh")
		beside := float64(times[1][pushes/2]) / float64(alone)
		b.ReportMetric(beside, "times-fresh")
		b.ReportMetric(float64(times[2][pushes/2])/float64(alone), "times-fresh-unkept")
		b.ReportMetric(float64(e.packs(dir)), "packs")
		if beside > mostBesideHistory {
			b.Errorf("a push costs %.2f times one to a fresh clone, at most %.1f are good", beside, mostBesideHistory)
		}
	}
}
