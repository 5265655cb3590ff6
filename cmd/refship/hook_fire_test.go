package main

// What a user gains from this test: with many pushers of a repository with installed hooks, and processes that are
// killed meanwhile, what a push was told is true, and in the end refs and chains agree.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hookedRepository is a bare repository with installed hooks, whose two targets several users push to. The world's
// server is only its etcd.
type hookedRepository struct {
	*world
	bare string
}

// homePush is one user's push, and what became of it.
type homePush struct {
	user, branch, namespace, commit string
	killed                          bool
	err                             error
	said                            string
}

func TestInstalledHooksUnderFire(t *testing.T) {
	t.Parallel()
	const least, most = 5, 60 // rounds: until enough was told, and killed
	w := newWorld(t)
	w.serve("")
	h := &hookedRepository{world: w, bare: w.in("home.git")}
	w.must("git", "init", "-q", "--bare", "-b", "main", h.bare)
	w.must("refship", "hook", "install", h.bare)
	w.must("refship", "hook", "install", h.bare, "--target", "staging", "--ref", "staging")
	users := []*homePush{
		{user: "ann", branch: "main", namespace: "/refship/home"}, {user: "bob", branch: "main", namespace: "/refship/home"},
		{user: "cyd", branch: "staging", namespace: "/refship/home-staging"},
	}
	for _, u := range users {
		w.must("git", "clone", "-q", h.bare, w.in(u.user))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	span, told, killed := 500*time.Millisecond, 0, 0
	for round := 0; round < most && (round < least || told < least || killed < 2); round++ {
		for _, u := range users {
			h.commit(u, round)
		}
		victim := users[random.IntN(len(users))]
		start := time.Now()
		h.pushAll(users, victim, time.Duration(random.Int64N(int64(span))))
		span = max(time.Since(start), 100*time.Millisecond)
		for _, u := range users {
			switch {
			case u.killed:
				killed++
			case u.err == nil && strings.Contains(u.said, "published"):
				told++
				h.wantDeployed(u)
			case u.err == nil && !strings.Contains(u.said, "already deployed as"):
				t.Errorf("round %d: %s's push ended well, and said:\n%s", round, u.user, u.said)
			}
		}
		h.clearGit()
	}
	t.Logf("%d pushes were told of their deploy, %d were killed", told, killed)
	if told < least || killed < 2 {
		t.Errorf("too few pushes got through (%d), or none was killed (%d)", told, killed)
	}
	for target, branch := range map[string]string{"default": "main", "staging": "staging"} {
		if _, err := w.run("git", "--git-dir", h.bare, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch); err == nil {
			w.must("refship", "deploy", "--repo", h.bare, "--rev", branch, "--target", target)
		}
	}
	w.must("refship", "hook", "status", h.bare) // exit status 0: refs and chains agree
	h.wantLine("/refship/home")
	h.wantLine("/refship/home-staging")
	w.must("refship", "hook", "uninstall", h.bare) // which refuses while anything is promised
	if _, err := os.Stat(filepath.Join(h.bare, "refship")); err == nil {
		t.Error("something is left in the repository")
	}
}

// commit makes a commit on top of what the repository has.
func (h *hookedRepository) commit(u *homePush, round int) {
	h.Helper()
	dir := h.in(u.user)
	h.must("git", "-C", dir, "fetch", "-q", "origin")
	if _, err := h.run("git", "-C", dir, "rev-parse", "--verify", "--quiet", "origin/"+u.branch); err == nil {
		h.must("git", "-C", dir, "checkout", "-q", "-B", u.branch, "origin/"+u.branch)
	} else {
		h.must("git", "-C", dir, "checkout", "-q", "-B", u.branch)
	}
	if err := os.WriteFile(filepath.Join(dir, u.user), fmt.Appendf(nil, "round %d\n", round), 0o644); err != nil {
		h.Fatal(err)
	}
	h.must("git", "-C", dir, "add", "-A")
	h.must("git", "-C", dir, "commit", "-q", "-m", fmt.Sprintf("%s, round %d", u.user, round))
	u.commit = h.must("git", "-C", dir, "rev-parse", "HEAD")
}

// pushAll lets all push at once, and kills one of them, with its receive-pack and hooks.
func (h *hookedRepository) pushAll(users []*homePush, victim *homePush, after time.Duration) {
	var all sync.WaitGroup
	for _, u := range users {
		u.killed = false
		cmd := exec.Command("git", "-C", h.in(u.user), "push", "origin", "HEAD:"+u.branch)
		cmd.Env = append([]string{"GL_USER=" + u.user}, h.env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			h.Fatal(err)
		}
		ended := make(chan struct{})
		if u == victim {
			all.Go(func() {
				select {
				case <-ended:
				case <-time.After(after):
					u.killed = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil
				}
			})
		}
		all.Go(func() {
			u.err = cmd.Wait()
			u.said = said.String()
			close(ended)
		})
	}
	all.Wait()
}

// wantDeployed checks that a push that was told so is a deploy, under its own user's name.
func (h *hookedRepository) wantDeployed(u *homePush) {
	h.Helper()
	for line := range strings.Lines(h.must("refship", "log", "--namespace", u.namespace, "--json")) {
		if field(h.TB, line, "hash") != u.commit {
			continue
		}
		var d struct {
			Record struct {
				Pusher struct{ Name string }
			}
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil || d.Record.Pusher.Name != u.user {
			h.Errorf("the deploy of %s's push is by %q (%v)", u.user, d.Record.Pusher.Name, err)
		}
		return
	}
	h.Errorf("%s's push of %s was told that it is published, and the chain does not have it:\n%s", u.user, u.commit,
		u.said)
}

// clearGit removes the locks that a killed git left: nothing runs now.
func (h *hookedRepository) clearGit() {
	err := filepath.WalkDir(h.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".lock") && !strings.HasPrefix(path, h.in("data")) {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		h.Error(err)
	}
}

// wantLine checks that each deploy's commit contains that of the one before.
func (h *hookedRepository) wantLine(namespace string) {
	h.Helper()
	newer := ""
	for line := range strings.Lines(h.must("refship", "log", "--namespace", namespace, "--json")) {
		hash := field(h.TB, line, "hash")
		if newer != "" {
			h.must("git", "--git-dir", h.bare, "merge-base", "--is-ancestor", hash, newer)
		}
		newer = hash
	}
}
