package gitserver

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// goneAfter is how many times askAfter a client is silent before it counts as gone: see package conns.
const goneAfter = 3

// rawClient is a connection whose global requests the test answers itself, or does not.
func (e *env) rawClient(u *user) (ssh.Conn, <-chan *ssh.Request) {
	e.t.Helper()
	nc, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	c, chans, reqs, err := ssh.NewClientConn(nc, e.addr, &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(u.signer)},
		HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	go func() {
		for ch := range chans {
			_ = ch.Reject(ssh.Prohibited, "no")
		}
	}()
	return c, reqs
}

// TestIdleClientStays: a client that does nothing but answer stays as long as it likes.
func TestIdleClientStays(t *testing.T) {
	t.Parallel()              // it waits
	const every = time.Second // a busy machine must not make anybody look gone
	e := start(t, func(s *Server) { s.askAfter = every })
	laptop := e.user("laptop", "admin")
	const times = 2 * goneAfter
	since := time.Now() // the server's clock starts with the connection
	c, reqs := e.rawClient(laptop)
	for range times {
		req, ok := <-reqs
		if !ok {
			t.Fatal("the connection was closed")
		}
		if req.Type != keepAliveRequest || !req.WantReply {
			t.Errorf("asked %q, reply wanted: %v", req.Type, req.WantReply)
		}
		if err := req.Reply(false, nil); err != nil { // as every client does that does not know the request
			t.Fatal(err)
		}
	}
	if took := time.Since(since); took < times*every {
		t.Errorf("asked %d times in %v", times, took)
	}
	go ssh.DiscardRequests(reqs)
	if _, _, err := c.SendRequest("x", true, nil); err != nil {
		t.Errorf("the connection is not well: %v", err)
	}

	// And OpenSSH's.
	cmd := exec.Command("ssh", append(e.sshArgs(laptop.path), "-v", "-N", "git@127.0.0.1")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for lines := bufio.NewScanner(stderr); asked < times && lines.Scan(); {
		if strings.Contains(lines.Text(), "rtype keepalive@openssh.com want_reply 1") {
			asked++
		}
	}
	if asked < times {
		t.Errorf("asked %d times", asked)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("ssh was not killed")
	}
	e.stop()
	if e.logged("client does not answer") {
		t.Error("somebody counts as gone")
	}
}

// TestSilentClientGoes: one that answers nothing is ended, and not before three times the time.
func TestSilentClientGoes(t *testing.T) {
	t.Parallel() // it waits
	const every = 100 * time.Millisecond
	e := start(t, func(s *Server) { s.askAfter = every })
	since := time.Now()
	c, reqs := e.rawClient(e.user("laptop", "admin"))
	go func() { // which reads and does not answer
		for range reqs {
		}
		c.Close()
	}()
	if err := c.Wait(); err == nil {
		t.Error("the connection ended in order")
	}
	if took := time.Since(since); took < goneAfter*every || took > 2*time.Minute {
		t.Errorf("ended after %v", took)
	}
	e.stop()
	if lines := e.log.About("client does not answer"); len(lines) != 1 ||
		!strings.HasPrefix(lines[0]["address"].(string), "127.0.0.1:") {
		t.Errorf("log lines are %v", lines)
	}
}

// TestSilentPusher: the push of a client that is gone without a word is carried through.
func TestSilentPusher(t *testing.T) {
	t.Parallel() // it waits
	e := start(t, func(s *Server) { s.askAfter = time.Second })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	reached, release := e.halt("uploaded")
	cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main")
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	signalGroup(t, cmd, syscall.SIGSTOP)
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
	signalGroup(t, cmd, syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		t.Error("client was not killed")
	}
}

func signalGroup(t *testing.T, cmd *exec.Cmd, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
		t.Fatal(err)
	}
}

// throughSlowLine makes git's ssh send, or receive, BYTES in each DURATION.
func throughSlowLine(t *testing.T, cmd *exec.Cmd, direction, rate string) {
	t.Helper()
	for i, v := range cmd.Env {
		ssh, ok := strings.CutPrefix(v, "GIT_SSH_COMMAND=")
		if !ok {
			continue
		}
		line := program(t, "throttle") + " " + rate
		script := filepath.Join(t.TempDir(), "ssh")
		text := "#!/bin/sh\n" + line + " | " + ssh + " \"$@\"\n"
		if direction == "receive" {
			text = "#!/bin/sh\n" + ssh + " \"$@\" | " + line + "\n"
		}
		if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd.Env[i] = "GIT_SSH_COMMAND=" + script
		return
	}
	t.Fatal("git has no ssh")
}

// TestStalledUpload: a client that stops in the middle of its pack is ended, and what it began leaves nothing.
func TestStalledUpload(t *testing.T) {
	e := start(t, func(s *Server) { s.askAfter = time.Second })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.randomFile(work, "large", 4<<20)
	cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main")
	throughSlowLine(t, cmd, "send", "16384 20ms")
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the pack's beginning", func() bool { return keptPack(t) > 0 })
	signalGroup(t, cmd, syscall.SIGSTOP)
	until(t, "the session's end", func() bool { return e.srv.Stats() == Stats{} })
	if git := receivePack(t, repo.Dir); git != nil {
		t.Errorf("receive-pack runs as %d", git.Pid)
	}
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if left, kept := leftovers(t, repo), keptPack(t); len(left) > 0 || kept > 0 {
		t.Errorf("left behind: %v, a pack of %d bytes", left, kept)
	}
	if d := e.head("config"); d != nil {
		t.Errorf("something was deployed: %+v", d)
	}
	signalGroup(t, cmd, syscall.SIGKILL)
	if err := cmd.Wait(); err == nil {
		t.Error("client was not killed")
	}
	e.git(laptop, work, "push", e.url("config"), "main").want(t, 0) // another attempt is not in the way of anything
	e.stop()
	if !e.logged("client does not answer") || !e.logged("push not taken by git") {
		t.Error("log does not tell")
	}
}

// keptPack is how many bytes the server keeps of packs that are not all there yet.
func keptPack(t *testing.T) (bytes int64) {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name, err := os.Readlink(path)
		if err != nil || !strings.Contains(name, "/tmp_incoming_") {
			continue // it may be closed by now
		}
		if info, err := os.Stat(path); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// TestSlowWriter: a pack that trickles in is taken, however long it takes.
func TestSlowWriter(t *testing.T) {
	t.Parallel()                                            // it waits
	const every, timeout = 2 * time.Second, 4 * time.Second // it stands still for much less at a time
	e := start(t, func(s *Server) { s.askAfter, s.readTimeout = every, timeout })
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.randomFile(work, "file", 120<<10)
	cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main")
	throughSlowLine(t, cmd, "send", "1024 120ms")
	since := time.Now()
	e.deployed(e.run(cmd), 1)
	if took := time.Since(since); took < 2*goneAfter*every {
		t.Errorf("that was fast: %v", took)
	}
}

// TestSlowClone: so is a clone that is read slowly.
func TestSlowClone(t *testing.T) {
	t.Parallel()                                            // it waits
	const every, timeout = 2 * time.Second, 4 * time.Second // it stands still for much less at a time
	e := start(t, func(s *Server) { s.askAfter, s.readTimeout = every, timeout })
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.randomFile(work, "file", 8<<20) // more than any window holds
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main:refs/heads/main")
	clone := filepath.Join(e.dir, "clone")
	cmd := e.gitCommand(laptop, e.dir, "clone", "-q", e.url("config"), clone)
	throughSlowLine(t, cmd, "receive", "262144 450ms")
	since := time.Now()
	e.run(cmd).want(t, 0)
	if took := time.Since(since); took < 2*goneAfter*every {
		t.Errorf("that was fast: %v", took)
	}
	if got, want := e.mustGit(nil, clone, "rev-parse", "HEAD"), e.mustGit(nil, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("clone has %s, want %s", got, want)
	}
}
