package gitserver

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// without wants that standard error has none of these texts.
func (r result) without(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(r.stderr, text) {
			t.Errorf("stderr has %q:\n%s", text, r.stderr)
		}
	}
}

// TestDiskTakesNoPush: the pusher is told that the server is to blame, the log has the cause, and the server knows it
// until the disk takes files again. /sys takes none, from root neither.
func TestDiskTakesNoPush(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	pack := filepath.Join(repo.Dir, "objects", "pack")
	if err := os.Rename(pack, pack+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/sys", pack); err != nil {
		t.Fatal(err)
	}
	r := e.git(laptop, work, "push", e.url("config"), "main")
	r.want(t, 1)
	r.without(t, "fsck", "unshallow", e.dir)
	if lines := e.log.About("cannot store what was pushed"); len(lines) != 1 {
		t.Errorf("logged %d times", len(lines))
	}
	if err := e.srv.Storage(); err == nil || !strings.Contains(err.Error(), "config") {
		t.Errorf("storage: %v", err)
	}
	if err := os.Remove(pack); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(pack+".away", pack); err != nil {
		t.Fatal(err)
	}
	if err := e.srv.Storage(); err != nil {
		t.Errorf("storage: %v", err)
	}
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 1)
}

// TestFullDisk: git's words are believed where less is free than the push needs, and otherwise only told.
func TestFullDisk(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	x := &session{s: e.srv, base: slog.New(e.log)}
	for _, q := range []struct {
		said  string
		bytes int64
		told  bool
		sure  bool
	}{
		{"fatal: write error: No space left on device\n", 1 << 60, true, true},
		{"fatal: write error: No space left on device\n", 1000, true, false},
		{"error: object file is empty\n", 1 << 60, false, false},
	} {
		p := &receiving{x: x, name: "config", dir: repo.Dir}
		// In two pieces, as pipes cut it.
		w := p.watch.On(&strings.Builder{})
		for _, piece := range []string{q.said[:25], q.said[25:]} {
			if _, err := w.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		err, sure := p.serverFault(input{bytes: q.bytes}, nil)
		if (err != nil) != q.told || sure != q.sure || (e.srv.Storage() != nil) != q.sure {
			t.Errorf("%q, %d bytes: %v, %v, storage: %v", q.said, q.bytes, err, sure, e.srv.Storage())
		}
		e.srv.shortages.all = nil
	}
}

// TestLockOfADeadGit: it keeps pushes out for a minute, and they are told so; the next push removes it.
func TestLockOfADeadGit(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	lock := filepath.Join(repo.Dir, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := e.git(laptop, work, "push", e.url("config"), "main")
	if r.want(t, 1); e.result() != "not moved" {
		t.Errorf("result is %v", e.result())
	}
	r.without(t, "unshallow", "fsck", "cannot store")
	if _, err := os.Stat(lock); err != nil {
		t.Errorf("a young lock: %v", err)
	}
	old := time.Now().Add(-2 * time.Minute)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 1)
	if !e.logged("removed a stale lock, which a dead git left") || e.srv.Stats().StaleLocks != 1 {
		t.Error("not told")
	}
}

// TestEmptyRef: a ref whose file is empty is the server's trouble, for pushes to all refs.
func TestEmptyRef(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.mustGit(laptop, work, "push", e.url("config"), "main")
	e.mustGit(nil, repo.Dir, "update-ref", "refs/heads/side", e.mustGit(nil, work, "rev-parse", "HEAD"))
	for _, name := range []string{"main", "side"} {
		if err := os.WriteFile(filepath.Join(repo.Dir, "refs", "heads", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.commit(work, "more", "x")
	r := e.git(laptop, work, "push", e.url("config"), "main")
	if r.want(t, 1); e.result() != "not moved" {
		t.Errorf("result is %v", e.result())
	}
	r.without(t, "fsck", e.dir, "config.git", "(rm ")
	if logged := e.last("a ref is broken"); !strings.Contains(logged["remedy"].(string), repo.Dir+"/refs/heads/main") {
		t.Errorf("logged: %v", logged)
	}
	status := e.ssh(laptop, "127.0.0.1", "status", "config")
	status.want(t, 1, "refs/heads/main", "refs/heads/side")
	for _, name := range []string{"main", "side"} {
		if err := os.Remove(filepath.Join(repo.Dir, "refs", "heads", name)); err != nil {
			t.Fatal(err)
		}
	}
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 2)
}

// TestShallowPush: only a push out of a shallow clone is told how to make that whole, and once.
func TestShallowPush(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.commit(work, "file", "two\n")
	e.commit(work, "file", "three\n")
	e.mustGit(nil, e.dir, "clone", "-q", "--depth", "1", "file://"+work, "shallow")
	r := e.git(laptop, filepath.Join(e.dir, "shallow"), "push", e.url("config"), "main")
	if r.want(t, 1); e.result() != "not moved" || e.logged("cannot store what was pushed") {
		t.Errorf("result is %v", e.result())
	}
	// The command of git's that helps.
	if n := strings.Count(r.stderr, "--unshallow"); n != 1 {
		t.Errorf("told %d times:\n%s", n, r.stderr)
	}
}

// TestShallowPushForAnotherReason: where a push out of a shallow clone does not move a ref for another reason, git's
// own words are enough.
func TestShallowPushForAnotherReason(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.commit(work, "file", "two\n")
	e.mustGit(laptop, work, "push", e.url("config"), "main:refs/heads/side")
	e.mustGit(nil, e.dir, "clone", "-q", "--depth", "1", "file://"+work, "shallow")
	shallow := filepath.Join(e.dir, "shallow")
	e.commit(shallow, "file", "three\n")
	e.mustGit(nil, repo.Dir, "update-ref", "refs/heads/main/x", "refs/heads/side") // in the way of main
	r := e.git(laptop, shallow, "push", e.url("config"), "main")
	if r.want(t, 1); e.result() != "not moved" {
		t.Errorf("result is %v", e.result())
	}
	r.without(t, "shallow")
	e.mustGit(nil, repo.Dir, "update-ref", "-d", "refs/heads/main/x")
	e.deployed(e.git(laptop, shallow, "push", e.url("config"), "main"), 1)
}

// TestShallowPushOfNothing: a shallow clone that has nothing to push, or may not push what it has, hears nothing of the
// server, as a whole clone does.
func TestShallowPushOfNothing(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.commit(work, "file", "two\n")
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 1)
	e.mustGit(laptop, e.dir, "clone", "-q", "--depth", "1", e.url("config"), "shallow")
	shallow := filepath.Join(e.dir, "shallow")
	for _, c := range []struct {
		args   []string
		status int
		told   string
	}{
		{[]string{"push", "origin", "main"}, 0, "Everything up-to-date"},
		{[]string{"push", "--atomic", "origin", "main"}, 0, "Everything up-to-date"},
		{[]string{"push", "origin", "aside:main"}, 1, "[rejected]"},
	} {
		if c.status != 0 {
			e.mustGit(nil, shallow, "checkout", "-q", "--orphan", "aside")
			e.commit(shallow, "file", "another line\n")
		}
		r := e.git(laptop, shallow, c.args...)
		r.want(t, c.status, c.told)
		r.without(t, "refship", "hint: git fsck")
	}
}
