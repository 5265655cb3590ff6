package gitserver

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/gitserver/conns"
	"refship/gitserver/repos"
)

// tryDial is dial where it may fail.
func (e *env) tryDial(u *user) (*ssh.Client, error) {
	return ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(u.signer)},
		HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
	})
}

// TestConnectionLimits: who is one too many reads why, in any client; who came before stays, and a place that is free
// again is given away.
func TestConnectionLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		reason fault.Reason
	}{
		{"all", Limits{Connections: 3, ConnectionsPerAddress: 100}, conns.ReasonConnections},
		{"address", Limits{Connections: 100, ConnectionsPerAddress: 3}, conns.ReasonConnectionsPerAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t, func(s *Server) { s.cfg.Limits = c.limits.withDefaults() })
			laptop := e.user("laptop", "admin")
			first := e.dial(laptop)
			e.dial(laptop)
			e.dial(laptop)
			until(t, "3 connections", func() bool { return e.srv.Stats().Connections == 3 })

			host, port, err := net.SplitHostPort(e.addr)
			if err != nil {
				t.Fatal(err)
			}
			const say = "refship: 3 " // and the rest of the line
			e.ssh(laptop, "git@127.0.0.1", "help").want(t, 255,
				"Received disconnect from "+host+" port "+port+":12: "+say)
			if conn, err := e.tryDial(laptop); err == nil {
				conn.Close()
				t.Error("connection taken")
			} else if !strings.Contains(err.Error(), say) {
				t.Errorf("got %v", err)
			}
			nc, err := net.Dial("tcp", e.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if text, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(text), "SSH-2.0-refship\r\n") {
				t.Errorf("got %q, %v", text, err)
			}

			e.exec(first, "help").want(t, 0)
			first.Close()
			until(t, "a free place", func() bool { return e.srv.Stats().Connections < 3 })
			e.ssh(laptop, "git@127.0.0.1", "help").want(t, 0)
			e.stop()
			if line := e.last("connection refused: too many are open"); line["remedy"] != string(c.reason) ||
				line["limit"] != int64(3) || !strings.HasPrefix(fmt.Sprint(line["address"]), "127.0.0.1:") {
				t.Errorf("log line is %v", line)
			}
			if n := e.srv.Stats(); n.Connections != 0 || n.WithoutLogin != 0 || n.Sessions != 0 || n.TurnedAway != 3 {
				t.Errorf("left: %+v", n)
			}
		})
	}
}

// TestFlood: refused connections neither pile up nor fill the log.
func TestFlood(t *testing.T) {
	e := start(t, func(s *Server) { s.cfg.Limits.Connections = 1 })
	laptop := e.user("laptop", "admin")
	c := e.dial(laptop)
	for range 200 {
		nc, err := net.Dial("tcp", e.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	e.exec(c, "help").want(t, 0)
	until(t, "the last one", func() bool { return e.srv.Stats().TurnedAway == 200 })
	e.stop()
	if n := len(e.log.About("connection refused: too many are open")); n != 20 {
		t.Errorf("%d lines in the log, want 20", n)
	}
}

// TestLoginGrace: who takes too long to authenticate reads so; who did, stays.
func TestLoginGrace(t *testing.T) {
	t.Parallel()                   // it waits
	const grace = 20 * time.Second // a machine may stand still for some of it
	e := start(t, func(s *Server) { s.cfg.Limits.LoginGrace = grace })
	laptop, slow := e.user("laptop", "admin"), e.user("slow", "admin")
	e.lock(slow)
	c := e.dial(laptop)
	silent, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// A person who does not come back to the question for the passphrase before the time is over.
	asked, answer := filepath.Join(e.dir, "asked"), filepath.Join(e.dir, "answer")
	for _, fifo := range []string{asked, answer} {
		if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
			t.Fatalf("mkfifo: %v: %s", err, out)
		}
	}
	askpass := filepath.Join(e.dir, "askpass")
	if err := os.WriteFile(askpass, []byte("#!/bin/sh\n: >"+asked+"\ncat "+answer+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-o", "BatchMode=no"}, e.sshArgs(slow.path)...) // the first one counts
	cmd := exec.Command("ssh", append(args, "git@127.0.0.1", "help")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir, "DISPLAY=:0", "SSH_ASKPASS=" + askpass,
		"SSH_ASKPASS_REQUIRE=force"}
	ended, question := make(chan result, 1), make(chan error, 1)
	go func() { ended <- e.run(cmd) }()
	go func() {
		_, err := os.ReadFile(asked) // until askpass opens it
		question <- err
	}()
	select {
	case err := <-question:
		if err != nil {
			t.Fatal(err)
		}
	case r := <-ended:
		t.Fatalf("ssh did not ask: %+v", r)
	}
	until(t, "the end of the time", func() bool { return e.srv.Stats().Connections == 1 })
	if err := os.WriteFile(answer, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := <-ended
	// The words are judged here: no script can tell a login that waits from one that a busy machine holds up.
	r.want(t, 255, "refship: no login within 20s")
	if _, err := io.Copy(io.Discard, silent); err != nil {
		t.Error(err)
	}
	e.exec(c, "help").want(t, 0)
	e.stop()
	late := e.log.About("no login in time")
	for _, line := range late {
		if line["limit"] != grace || line["remedy"] != string(ReasonLoginGrace) {
			t.Errorf("log line is %v", line)
		}
	}
	if len(late) != 2 {
		t.Errorf("log lines are %v", late)
	}
}

// randomFile adds a commit with a file that does not compress.
func (e *env) randomFile(dir, name string, size int) {
	e.t.Helper()
	f, err := os.Open("/dev/urandom")
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	out, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := io.CopyN(out, f, int64(size)); err != nil {
		e.t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		e.t.Fatal(err)
	}
	e.mustGit(nil, dir, "-c", "core.compression=0", "add", name)
	e.mustGit(nil, dir, "commit", "-q", "-m", "add "+name)
}

// leftovers are the quarantines of pushes in a repository.
func leftovers(t *testing.T, repo *repos.Repository) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repo.Dir, "objects", "*incoming*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestMaxPack: a push that is too large is told the limit and the remedy, and leaves nothing; in parts it goes.
func TestMaxPack(t *testing.T) {
	e := start(t, func(s *Server) { s.cfg.Limits.MaxPack = 1 << 20 })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	for i := range 4 {
		e.randomFile(work, fmt.Sprintf("large%d", i), 600<<10)
	}
	e.git(laptop, work, "push", e.url("config"), "main").want(t, 1, "1 MiB", string(ReasonPackSize), "unpacker error")
	if line := e.last("push is too large"); line["limit"] != int64(1<<20) || line["remedy"] != string(ReasonPackSize) {
		t.Errorf("log line is %v", line)
	}
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if left := leftovers(t, repo); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if d := e.head("config"); d != nil {
		t.Errorf("something was deployed: %+v", d)
	}
	for back := 4; back >= 0; back-- {
		e.git(laptop, work, "push", e.url("config"), fmt.Sprintf("main~%d:refs/heads/main", back)).want(t, 0)
	}
	if d, want := e.head("config"), e.mustGit(nil, work, "rev-parse", "HEAD"); d == nil || string(d.Hash) != want {
		t.Errorf("head is %+v, want %s", d, want)
	}
	// What git refuses for another reason has another message.
	c := e.dial(laptop)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/other\x00report-status"
	s.Stdin = strings.NewReader(pktLine(line) + "0000" + "PACKthis is no pack at all, whatever it says")
	e.execIn(s, "git-receive-pack '/config'").want(t, 1, "refship: error: ")
	if e.stop(); len(e.log.About("push is too large")) != 1 || !e.logged("push not taken by git") {
		t.Error("log does not tell")
	}
}

func TestInBytes(t *testing.T) {
	for n, want := range map[int64]string{1: "1 byte", 100: "100 bytes", 1 << 10: "1 KiB", 1 << 20: "1 MiB",
		3 << 19: "1.5 MiB", 1 << 30: "1 GiB", 1e9: "953.7 MiB"} {
		if got := inBytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
