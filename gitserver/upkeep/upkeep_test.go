package upkeep

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// memory lets git have 64 MiB.
func memory(context.Context, string) (int64, func(), error) { return 64 << 20, func() {}, nil }

// keeper runs a Keeper until the test ends; change may set more of it first.
func keeper(t *testing.T, change ...func(*Keeper)) (*Keeper, *fixture.Journal) {
	t.Helper()
	log := fixture.NewJournal(t)
	k := New(Config{Memory: memory, Log: slog.New(log)})
	for _, c := range change {
		c(k)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return k, log
}

// looked waits until there were so many looks at repositories.
func looked(t *testing.T, k *Keeper, looks int) {
	t.Helper()
	fixture.Eventually(t, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.looks >= looks
	})
}

func contentsOf(t *testing.T, g *fixture.Repository) *contents {
	t.Helper()
	c, err := look(g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUpkeep: after a push to a repository with many packs, loose refs and loose objects there are few of each, and all
// objects are there, with those that no ref leads to.
func TestUpkeep(t *testing.T) {
	g := fixture.NewRepository(t)
	last := g.Packs("main", maxPacks+10, git.OID{})
	gone := g.Packs("gone", 3, last)
	g.Git("update-ref", "-d", "refs/heads/gone")
	loose := g.Blob("loose, and no ref leads to it")
	g.Line("other", 3, last)
	before := g.Git("cat-file", "--batch-all-objects", "--batch-check")

	k, log := keeper(t)
	k.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })

	after := contentsOf(t, g)
	if after.packs > 3 || after.looseRefs > 0 || after.looseObjects > 0 {
		t.Errorf("afterwards: %+v", after)
	}
	if now := g.Git("cat-file", "--batch-all-objects", "--batch-check"); now != before {
		t.Errorf("other objects:\n%s\nbefore:\n%s", now, before)
	}
	for _, oid := range []git.OID{last, gone, loose} {
		g.Git("cat-file", "-e", oid.String())
	}
	g.Git("fsck", "--strict")
	if _, err := os.Stat(filepath.Join(g.Dir, "objects", "info", "commit-graphs")); err != nil {
		t.Error(err)
	}
	if lines := log.About("upkeep"); len(lines) != 1 || lines[0]["repository"] != "config" {
		t.Errorf("logged: %v", lines)
	}
	// Now there is nothing to do.
	k.Enter("config", g.Dir)()
	fixture.Eventually(k.isIdle(t))
	if k.Stats().Done != 1 {
		t.Error("kept again")
	}
}

// isIdle is for fixture.Eventually: nothing waits, nothing is worked on, and nothing has to be remembered.
func (k *Keeper) isIdle(t *testing.T) (*testing.T, func() bool) {
	return t, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.known) == 0
	}
}

// TestReadersDuringUpkeep: a git that has opened packs goes on reading when they are gone.
func TestReadersDuringUpkeep(t *testing.T) {
	g := fixture.NewRepository(t)
	last := g.Packs("main", maxPacks+10, git.OID{})
	r, err := git.OpenRepository(t.Context(), g.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	oids := strings.Fields(g.Git("rev-list", "main"))
	for _, oid := range oids[:len(oids)/2] {
		if _, err := r.Commit(fixture.OID(oid)); err != nil {
			t.Fatal(err)
		}
	}
	k, _ := keeper(t)
	k.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })
	for _, oid := range oids {
		c, err := r.Commit(fixture.OID(oid))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Tree(c.Tree); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := r.Between(t.Context(), fixture.OID(oids[len(oids)-1]), last, 100); err != nil || !r.Related {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestNotDuringPushes: an upkeep does not begin while there is a push, up to a bound; and a failure is not repeated
// with the next push.
func TestNotDuringPushes(t *testing.T) {
	g := fixture.NewRepository(t)
	last := g.Packs("main", maxPacks+1, git.OID{})
	k, log := keeper(t)
	leave := k.Enter("config", g.Dir)
	k.Enter("config", g.Dir)()
	looked(t, k, 1)
	g.Packs("main", beside*maxPacks, last)
	k.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })
	if packs := log.About("upkeep")[0]["packs"]; packs != int64(maxPacks+1+beside*maxPacks) {
		t.Errorf("began with %v packs", packs)
	}
	leave()
}

// TestFailure is told, and the repository is let be for a pause, each time for a longer one; then it is tried again,
// without a push.
func TestFailure(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Packs("main", maxPacks+1, git.OID{})
	tries := make(chan error)
	k, log := keeper(t, func(k *Keeper) {
		k.firstPause = 200 * time.Millisecond
		k.cfg.Memory = func(ctx context.Context, _ string) (int64, func(), error) {
			select {
			case err := <-tries:
				return 64 << 20, func() {}, err
			case <-ctx.Done():
				return 0, nil, ctx.Err()
			}
		}
	})
	k.Enter("config", g.Dir)()
	for range 3 {
		tries <- errors.New("none left")
	}
	for range steps {
		tries <- nil
	}
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })
	lines := log.About("upkeep failed")
	if len(lines) != 3 || k.Stats().Failed != 3 {
		t.Fatalf("%+v, logged: %v", k.Stats(), lines)
	}
	for i, line := range lines {
		if pause := line["again_after"]; pause != k.firstPause<<i {
			t.Errorf("failure %d: again after %v", i+1, pause)
		}
	}
	fixture.Eventually(k.isIdle(t))
}

// TestPushesAfterAFailure do not have it repeated.
func TestPushesAfterAFailure(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Packs("main", maxPacks+1, git.OID{})
	k, log := keeper(t, func(k *Keeper) {
		k.cfg.Memory = func(context.Context, string) (int64, func(), error) { return 0, nil, errors.New("none left") }
	})
	for i := range 3 {
		k.Enter("config", g.Dir)()
		looked(t, k, i+1)
	}
	if lines := log.About("upkeep failed"); len(lines) != 1 || k.Stats().Failed != 1 || k.Stats().Done != 0 {
		t.Errorf("%+v, logged: %v", k.Stats(), lines)
	}
}

// TestNoMemory: the upkeep of a repository is put off while fetches take all of git's memory, which is no failure.
// Other repositories come meanwhile.
func TestNoMemory(t *testing.T) {
	large, small := fixture.NewRepository(t), fixture.NewRepository(t)
	large.Packs("main", maxPacks+1, git.OID{})
	small.Packs("main", maxPacks+1, git.OID{})
	var free atomic.Bool
	k, log := keeper(t, func(k *Keeper) {
		k.firstPause, k.memoryWait = 100*time.Millisecond, 10*time.Millisecond
		k.cfg.Memory = func(ctx context.Context, dir string) (int64, func(), error) {
			if dir == large.Dir && !free.Load() {
				<-ctx.Done()
				return 0, nil, ctx.Err()
			}
			return 64 << 20, func() {}, nil
		}
	})
	k.Enter("large", large.Dir)()
	k.Enter("small", small.Dir)()
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })
	free.Store(true)
	fixture.Eventually(t, func() bool { return k.Stats().Done == 2 })
	if s := k.Stats(); s.Failed > 0 || len(log.About("upkeep put off: fetches take all of git's memory")) == 0 {
		t.Errorf("%+v", s)
	}
}

// TestLater: a repository gets its upkeep without a push, after those that have one.
func TestLater(t *testing.T) {
	old, pushed := fixture.NewRepository(t), fixture.NewRepository(t)
	old.Packs("main", maxPacks+1, git.OID{})
	pushed.Packs("main", maxPacks+1, git.OID{})
	k, log := keeper(t, func(k *Keeper) {
		k.Later("old", old.Dir)
		k.Later("gone", filepath.Join(t.TempDir(), "gone.git"))
		k.Enter("pushed", pushed.Dir)()
	})
	fixture.Eventually(k.isIdle(t))
	lines := log.About("upkeep")
	if len(lines) != 2 || lines[0]["repository"] != "pushed" || lines[1]["repository"] != "old" {
		t.Errorf("logged: %v", lines)
	}
}

// slowGit puts a git into PATH which has a second process, and does not end. begun gives what ends when all of them
// have ended, once both run.
func slowGit(t *testing.T) (begun func() io.ReadCloser) {
	t.Helper()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n" + `{ "` + real + `" "$@"; sleep 600; } >"` + fifo + `"` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() io.ReadCloser {
		f, err := os.Open(fifo) // waits for a writer
		if err != nil {
			t.Error(err)
		}
		return f
	}
}

// TestTheEndOfAnUpkeep: the server's end ends a git that runs, soon, and what is left does no harm.
func TestTheEndOfAnUpkeep(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Packs("main", maxPacks+1, git.OID{})
	t.Run("", func(t *testing.T) {
		begun := slowGit(t)
		ctx, cancel := context.WithCancel(t.Context())
		k := New(Config{Log: slog.New(fixture.NewJournal(t)), Memory: memory})
		k.Enter("config", g.Dir)()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.Run(ctx)
		}()
		processes := begun()
		defer processes.Close()
		cancel()
		began := time.Now()
		<-ended
		_, _ = io.Copy(io.Discard, processes)
		if took := time.Since(began); took > endGrace+time.Minute {
			t.Errorf("took %s", took)
		}
		if k.Stats().Failed > 0 {
			t.Error("an end counts as a failure")
		}
	})
	g.Git("fsck", "--strict")
	next, _ := keeper(t)
	next.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return next.Stats().Done == 1 })
	g.Git("fsck", "--strict")
}

// TestUnlimited: where git's memory cannot be limited, git ends with all that it has started.
func TestUnlimited(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Packs("main", maxPacks+1, git.OID{})
	begun := slowGit(t)
	processes := make(chan io.ReadCloser, 1)
	k, _ := keeper(t, func(k *Keeper) {
		k.limitMemory = func(int, int64) error {
			processes <- begun()
			return errors.New("not permitted")
		}
	})
	k.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return k.Stats().Failed == 1 })
	running := <-processes
	defer running.Close()
	_, _ = io.Copy(io.Discard, running)
}

// TestWhatADeadGitLeft: quarantines and half-written packs go when they are old.
func TestWhatADeadGitLeft(t *testing.T) {
	g := fixture.NewRepository(t)
	objects := filepath.Join(g.Dir, "objects")
	old := time.Now().Add(-2 * fileAge)
	make := func(path string, when time.Time) string {
		t.Helper()
		path = filepath.Join(objects, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, filepath.Dir(path)} {
			if err := os.Chtimes(p, when, when); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	gone := []string{
		make("tmp_objdir-incoming-aaaaaa/pack/tmp_pack_1", old), make("pack/tmp_pack_2", old),
		make("pack/.tmp-17-pack-12.pack", old),
	}
	if err := os.Chtimes(filepath.Join(objects, "tmp_objdir-incoming-aaaaaa"), old, old); err != nil {
		t.Fatal(err)
	}
	stay := []string{make("incoming-bbbbbb/pack/tmp_pack_3", time.Now()), make("pack/tmp_pack_4", time.Now())}
	k, _ := keeper(t)
	k.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })
	for _, path := range gone {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range stay {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestLocks: a push removes the locks of a dead git: those that are old, and older than all that runs.
func TestLocks(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Line("main", 1, git.OID{})
	all := []string{"refs/heads/main.lock", "refs/tags/v1.lock", "HEAD.lock", "packed-refs.lock", "config.lock"}
	lock := func(age time.Duration) {
		for _, name := range all {
			path := filepath.Join(g.Dir, name)
			when := time.Now().Add(-age)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	locks := func() int {
		loose, err := git.ReadLoose(g.Dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(loose.Locks)
	}
	k, log := keeper(t)
	lock(lockAge - 10*time.Second)
	k.Enter("config", g.Dir)()
	if locks() != len(all) {
		t.Error("young locks are gone")
	}
	slow, visit := k.enter("config", g.Dir)
	visit.since = time.Now().Add(-time.Hour)
	lock(lockAge + 10*time.Second)
	k.Enter("config", g.Dir)()
	if locks() != len(all) {
		t.Error("locks that a running push may hold are gone")
	}
	lock(2 * time.Hour)
	k.Enter("config", g.Dir)()
	if n := locks(); n != 0 {
		t.Errorf("%d locks are left that are older than the push that runs", n)
	}
	k.leave(slow, visit)
	if lines := log.About("removed a stale lock, which a dead git left"); len(lines) != len(all) ||
		k.Stats().Locks != len(all) {
		t.Errorf("%+v, logged: %v", k.Stats(), lines)
	}
}
