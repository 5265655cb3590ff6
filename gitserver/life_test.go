package gitserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/gitserver/conns"
	"refship/gitserver/repos"
)

// until waits for a condition that another goroutine or process brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// halt makes the server stop at a step, once: reached is closed there, and release lets it go on.
func (e *env) halt(step string) (reached chan struct{}, release func()) {
	reached, goOn := make(chan struct{}), make(chan struct{})
	e.log.When(step, func() {
		close(reached)
		<-goOn
	})
	return reached, func() { close(goOn) }
}

// TestClientDies: once git has the whole pack the push is carried through without its client.
func TestClientDies(t *testing.T) {
	for _, step := range []string{"pre-receive-start", "locked", "uploaded", "intent-written", "post-receive-start",
		"receive-done"} {
		t.Run(step, func(t *testing.T) {
			e := start(t)
			repo := e.repo("config")
			laptop := e.user("laptop", "deploy:config")
			work := e.work()
			reached, release := e.halt(step)
			cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main")
			cmd.Stderr = io.Discard
			// git and its ssh die together: ssh leads no group of its own.
			cmd.SysProcAttr = childAttr()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-reached
			killGroup(t, cmd.Process.Pid)
			if err := cmd.Wait(); err == nil {
				t.Error("client was not killed")
			}
			until(t, "the connection's end", func() bool { return e.srv.Stats().Connections == 0 })
			release()
			e.stop()
			commit := e.mustGit(nil, work, "rev-parse", "HEAD")
			if got := e.mustGit(nil, repo.Dir, "rev-parse", "refs/heads/main"); got != commit {
				t.Errorf("ref is %s, want %s", got, commit)
			}
			if d := e.head("config"); d == nil || string(d.Hash) != commit {
				t.Errorf("head is %+v, want %s", d, commit)
			}
		})
	}
}

// TestClientDiesInPack: half a pack leaves nothing.
func TestClientDiesInPack(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	c := e.dial(e.user("laptop", "deploy:config"))
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	reached, release := e.halt("receive-start")
	if err := s.Start("git-receive-pack '/config'"); err != nil {
		t.Fatal(err)
	}
	<-reached
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/main\x00report-status"
	if _, err := io.WriteString(in, pktLine(line)+"0000PACK\x00\x00\x00\x02\x00\x00\x10\x00"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	release()
	e.stop()
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if d := e.head("config"); d != nil {
		t.Errorf("something was deployed: %+v", d)
	}
	if !e.logged("push not taken by git") {
		t.Error("log does not tell")
	}
}

// manyRefs makes a list of refs that no SSH window holds (2 MiB).
func manyRefs(t *testing.T, repo *repos.Repository, commit string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range 60000 {
		fmt.Fprintf(&b, "%s refs/tags/v%06d\n", commit, i)
	}
	if err := os.WriteFile(filepath.Join(repo.Dir, "packed-refs"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSlowReader: a client that reads nothing counts as gone, and what it had pushed before is deployed all the same.
func TestSlowReader(t *testing.T) {
	t.Parallel() // it waits
	e := start(t, func(s *Server) { s.readTimeout = time.Second })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	first := e.mustGit(nil, work, "rev-parse", "HEAD")
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
	manyRefs(t, repo, first)
	e.commit(work, "file", "two\n")
	second := e.mustGit(nil, work, "rev-parse", "HEAD")
	pack := e.gitCommand(nil, work, "pack-objects", "--revs", "--stdout", "-q")
	pack.Stdin = strings.NewReader(second + "\n^" + first + "\n")
	bytes := e.run(pack)

	c := e.dial(laptop)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	s.Stdin = strings.NewReader(pktLine(first+" "+second+" refs/heads/main\x00report-status") + "0000" + bytes.stdout)
	if _, err := s.StdoutPipe(); err != nil { // which nobody reads
		t.Fatal(err)
	}
	if err := s.Start("git-receive-pack '/config'"); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("connection ended in order")
	}
	e.stop()
	if d := e.head("config"); d == nil || string(d.Hash) != second {
		t.Errorf("head is %+v, want %s", d, second)
	}
	if !e.logged("client reads nothing") {
		t.Error("log does not tell")
	}
}

// TestLeaveFetch: a fetch ends with its client's channel, also on a connection that stays.
func TestLeaveFetch(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
	manyRefs(t, repo, e.mustGit(nil, work, "rev-parse", "HEAD"))
	c := e.dial(laptop)
	for range 2 * conns.MaxSessions { // more than could stay
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start("git-upload-pack '/config'"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		until(t, "the session's end", func() bool { return e.srv.Stats().Sessions == 0 })
	}
	e.exec(c, "help").want(t, 0)
}

// TestShutdown: a running push ends well, new sessions and connections are refused, idle connections are closed.
func TestShutdown(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	idle := e.dial(laptop)
	busy := e.dial(laptop)
	reached, release := e.halt("uploaded")
	first := e.mustGit(nil, work, "rev-parse", "HEAD")
	pack := e.gitCommand(nil, work, "pack-objects", "--revs", "--stdout", "-q")
	pack.Stdin = strings.NewReader(first + "\n")
	bytes := e.run(pack)
	s, err := busy.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := busy.NewSession() // open before, and its command comes after
	if err != nil {
		t.Fatal(err)
	}
	update := pktLine(strings.Repeat("0", 40) + " " + first + " refs/heads/main\x00report-status side-band-64k")
	s.Stdin = strings.NewReader(update + "0000" + bytes.stdout)
	if err := s.Start("git-receive-pack '/config'"); err != nil {
		t.Fatal(err)
	}
	<-reached
	e.cancel()
	if err := idle.Wait(); err == nil {
		t.Error("idle connection ended in order")
	}
	if _, err := busy.NewSession(); err == nil || !strings.Contains(err.Error(), errShuttingDown.Error()) {
		t.Errorf("got %v", err)
	}
	if e.execIn(waiting, "help").want(t, 1, "refship: error: "); !errors.Is(e.failure(), errShuttingDown) {
		t.Errorf("the command ended with %v", e.failure())
	}
	if c, err := ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
		Auth: []ssh.AuthMethod{ssh.PublicKeys(laptop.signer)}, HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
	}); err == nil {
		c.Close()
		t.Error("connection taken")
	}
	release()
	if err := s.Wait(); err != nil {
		t.Errorf("push: %v", err)
	}
	e.stop()
	if d := e.head("config"); d == nil || string(d.Hash) != first {
		t.Errorf("head is %+v, want %s", d, first)
	}
}

// TestShutdownGrace: what does not end is ended.
func TestShutdownGrace(t *testing.T) {
	e := startGrace(t, 50*time.Millisecond)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
	manyRefs(t, repo, e.mustGit(nil, work, "rev-parse", "HEAD"))
	for _, command := range []string{"git-receive-pack '/config'", "git-upload-pack '/config'"} {
		s, err := e.dial(laptop).NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.StdinPipe(); err != nil { // which stays open
			t.Fatal(err)
		}
		out, err := s.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(command); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	since := time.Now()
	e.stop()
	if took := time.Since(since); took > time.Minute {
		t.Errorf("shutdown took %v", took)
	}
}
