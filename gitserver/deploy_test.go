package gitserver

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks/target"
)

// TestDeployCommand: a push whose deploy could not be published leaves an intent; `ssh HOST deploy REPO` publishes it,
// as its pusher's, when the trouble is over, and says what is wrong as long as it is not.
func TestDeployCommand(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop, ops := e.user("laptop", "deploy:config"), e.user("ops", "deploy:*")
	work := e.work()
	commit := e.mustGit(nil, work, "rev-parse", "HEAD")
	pending := func() int {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(repo.Dir, "refship", "pending", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	hold, held := string(e.namespace("config"))+"/refship/hold", "chain-held "+string(e.namespace("config"))
	e.log.When("post-receive-start", func() { // after pre-receive has accepted
		if _, err := store.Client().Put(context.Background(), hold, "maintenance"); err != nil {
			t.Error(err)
		}
	})
	e.git(laptop, work, "push", e.url("config"), "main").want(t, 1)
	if lines := e.log.About("pushed, not deployed"); len(lines) != 1 || e.result() != "not deployed" {
		t.Errorf("log lines are %v, the push is %q", lines, e.result())
	} else {
		fixture.WantReason(t, fault.Conflict, lines[0]["error"].(error), held)
	}
	if got := e.mustGit(nil, repo.Dir, "rev-parse", "refs/heads/main"); got != commit || e.head("config") != nil ||
		pending() != 1 {
		t.Fatalf("ref is %s, head %+v, %d intents", got, e.head("config"), pending())
	}
	e.ssh(ops, "git@127.0.0.1", "deploy", "config").want(t, 3, "refship: error: ")
	fixture.WantReason(t, fault.Conflict, e.failure(), held)
	if e.head("config") != nil || pending() != 1 {
		t.Fatalf("on hold: head %+v, %d intents", e.head("config"), pending())
	}
	if _, err := store.Client().Delete(context.Background(), hold); err != nil {
		t.Fatal(err)
	}
	// A second time there is nothing to do.
	for i, result := range []string{"deployed", "already deployed"} {
		r := e.ssh(ops, "git@127.0.0.1", "deploy", "config")
		r.want(t, 0)
		if line := e.log.About("deploy")[i+1]; line["result"] != result || r.stdout == "" {
			t.Errorf("log line is %v, stdout is %s", line, r.stdout)
		}
		d := e.head("config")
		if d == nil || d.ID != 1 || string(d.Hash) != commit || d.Record.Pusher.Name != "laptop" || pending() != 0 {
			t.Fatalf("head is %+v, %d intents", d, pending())
		}
	}
}

// TestReceivePackKilled: what the client hears names the cause and not its own objects.
func TestReceivePackKilled(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	s, err := e.dial(e.user("laptop", "deploy:config")).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/main\x00report-status"
	s.Stdin = strings.NewReader(pktLine(line) + "0000")
	e.log.When("receive-start", func() {
		git := receivePack(t, repo.Dir)
		if git == nil {
			t.Error("no receive-pack runs")
		} else if err := git.Kill(); err != nil {
			t.Error(err)
		}
	})
	r := e.execIn(s, "git-receive-pack '/config'")
	r.want(t, 1, "refship: error: git receive-pack ", "killed", "refship: hint: ")
	if strings.Contains(r.stderr, "fsck") {
		t.Errorf("stderr is %s", r.stderr)
	}
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
}

// TestBrokenRepository: where git gives up before its client does, the client's objects are not to blame.
func TestBrokenRepository(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	if err := os.WriteFile(filepath.Join(repo.Dir, "config"), []byte("[core\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := e.dial(e.user("laptop", "deploy:config")).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StdinPipe(); err != nil { // which stays open
		t.Fatal(err)
	}
	r := e.execIn(s, "git-receive-pack '/config'")
	if r.want(t, 128, "refship: hint: ", "repository config"); !e.logged("git cannot serve repository") {
		t.Error("log does not tell")
	}
	if strings.Contains(r.stderr, "sha1") {
		t.Errorf("stderr is %s", r.stderr)
	}
}

// receivePack finds the git that receives into dir, nil if there is none.
func receivePack(t *testing.T, dir string) *os.Process {
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Error(err)
	}
	for _, path := range found {
		line, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(line, []byte("receive-pack\x00--end-of-options\x00"+dir+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Error(err)
			return nil
		}
		git, err := os.FindProcess(pid)
		if err != nil {
			t.Error(err)
		}
		return git
	}
	return nil
}

// TestDeployEndsItsCheck: a target's own check that a deploy has begun ends with the client, and when the server
// begins to stop, which then does not wait for it; nothing is deployed.
func TestDeployEndsItsCheck(t *testing.T) {
	t.Parallel() // it waits
	for _, way := range []string{"client gone", "server stops"} {
		t.Run(way, func(t *testing.T) {
			e := startGrace(t, 5*time.Minute)
			repo := e.repo("config")
			began := filepath.Join(e.dir, "began")
			one := e.target("config")
			one.Check = "echo $$ >" + began + ".new; mv " + began + ".new " + began + "; exec sleep 1000"
			if err := target.SetTarget(t.Context(), repo.Dir, one); err != nil {
				t.Fatal(err)
			}
			e.mustGit(nil, repo.Dir, "fetch", "-q", e.work(), "main:main") // past the hooks
			c := e.dial(e.user("ops", "deploy:config"))
			done := make(chan result, 1)
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if way == "client gone" {
				if err := s.Start("deploy config"); err != nil {
					t.Fatal(err)
				}
			} else {
				go func() { done <- e.execIn(s, "deploy config") }()
			}
			until(t, "the check", func() bool { _, err := os.Stat(began); return err == nil })
			since := time.Now()
			if way == "client gone" {
				c.Close()
				until(t, "the command's end", func() bool { return e.srv.Stats().Sessions == 0 })
			}
			e.stop()
			if took := time.Since(since); took > time.Minute { // of the time that pushes have
				t.Errorf("that took %s", took)
			}
			if way == "server stops" {
				if (<-done).want(t, 1, "refship: error: "); !errors.Is(e.failure(), errShuttingDown) {
					t.Errorf("the deploy ended with %v", e.failure())
				}
			}
			pid, err := os.ReadFile(began)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat("/proc/" + strings.TrimSpace(string(pid))); err == nil {
				t.Error("the check still runs")
			}
			if d := e.head("config"); d != nil {
				t.Errorf("head is %+v", d)
			}
		})
	}
}

// TestRepositoryOfAnotherAccount: the operator is told what to do, and the client no more than that it is not to blame.
func TestRepositoryOfAnotherAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a repository to another account")
	}
	e := start(t)
	repo := e.repo("config")
	if err := os.Chown(repo.Dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	laptop, work := e.user("laptop", "deploy:config"), e.work()
	for _, r := range []result{
		e.git(laptop, work, "push", e.url("config"), "main"),
		e.git(laptop, work, "fetch", e.url("config")),
	} {
		if r.status == 0 || !strings.Contains(r.stderr, "config: it belongs to another account there") ||
			strings.Contains(r.stderr, "safe.directory") || strings.Contains(r.stderr, repo.Dir) {
			t.Errorf("status %d, stderr is %s", r.status, r.stderr)
		}
	}
	for _, line := range e.log.About("git cannot serve repository") {
		fixture.WantFault(t, fault.Failed, line["error"].(error), "the account ", "chown -R ")
	}
	if n := len(e.log.About("git cannot serve repository")); n != 2 {
		t.Errorf("%d log lines", n)
	}
}
