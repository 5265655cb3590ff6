package gitserver

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
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
		say    string
		reason fault.Reason
	}{
		{"all", Limits{Connections: 3, ConnectionsPerAddress: 100},
			"refship: 3 connections are open, as many as this server takes: try again later", ReasonConnections},
		{"address", Limits{Connections: 100, ConnectionsPerAddress: 3},
			"refship: 3 connections from your address are open, as many as it may have: close one, or ask the server's operator to connections-per-address-limit", ReasonConnectionsPerAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := start(t, func(s *Server) { s.cfg.Limits = c.limits.withDefaults() })
			laptop := e.user("laptop", "admin")
			first := e.dial(laptop)
			e.dial(laptop)
			silent, err := net.Dial("tcp", e.addr) // one that does not authenticate counts, too
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			until(t, "3 connections", func() bool { return e.srv.Stats().Connections == 3 })

			host, port, err := net.SplitHostPort(e.addr)
			if err != nil {
				t.Fatal(err)
			}
			e.ssh(laptop, "git@127.0.0.1", "help").want(t, 255,
				"Received disconnect from "+host+" port "+port+":12: "+c.say)
			if conn, err := e.tryDial(laptop); err == nil {
				conn.Close()
				t.Error("connection taken")
			} else if !strings.Contains(err.Error(), c.say) {
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
			log := e.log.Text()
			if !strings.Contains(log, "WARN connection refused: too many are open address=127.0.0.1:") ||
				!strings.Contains(log, "remedy="+string(c.reason)+" ") {
				t.Errorf("log does not tell: %s", log)
			}
			if n := e.srv.Stats(); n != (Stats{}) || len(e.srv.networks) != 0 {
				t.Errorf("left: %+v, %v", n, e.srv.networks)
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
	until(t, "the last farewell", func() bool { return len(e.srv.farewells) == 0 })
	e.stop()
	if n := strings.Count(e.log.Text(), "connection refused"); n != floodLines {
		t.Errorf("%d lines in the log, want %d", n, floodLines)
	}
}

func TestFloodLines(t *testing.T) {
	var f flood
	for i := range 3 * floodLines {
		if _, ok := f.next(); ok != (i < floodLines) {
			t.Fatalf("line %d: %v", i, ok)
		}
	}
	f.since = f.since.Add(-2 * floodTime)
	if held, ok := f.next(); !ok || held != 2*floodLines {
		t.Errorf("later: %d, %v", held, ok)
	}
	if held, ok := f.next(); !ok || held != 0 {
		t.Errorf("then: %d, %v", held, ok)
	}
}

type textAddr string

func (textAddr) Network() string  { return "test" }
func (a textAddr) String() string { return string(a) }

func TestClientNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7:1234":              "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1234":     "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1234": "2001:db8:1:2::/64",
		"[2001:db8:1:2::1]:1":         "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:1":         "2001:db8:1:3::/64",
		"[fe80::1%eth0]:22":           "fe80::/64",
	} {
		if got := clientNetwork(textAddr(text)); got != netip.MustParsePrefix(want) {
			t.Errorf("%s: got %v, want %s", text, got, want)
		}
	}
	for _, text := range []string{"", "@", "/run/socket", "192.0.2.7"} {
		if got := clientNetwork(textAddr(text)); got.IsValid() {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// TestPlainPacket: a client parses it (RFC 4253, section 6), whatever its length.
func TestPlainPacket(t *testing.T) {
	for n := range 40 {
		payload := []byte(strings.Repeat("x", n))
		p := plainPacket(payload)
		length, padding := int(p[2])<<8|int(p[3]), int(p[4])
		if len(p)%8 != 0 || len(p) < 16 && n > 6 || length != len(p)-4 || padding < 4 ||
			string(p[5:len(p)-padding]) != string(payload) {
			t.Errorf("%d bytes: %v", n, p)
		}
	}
}

// TestLoginGrace: who takes too long to authenticate reads so; who did, stays.
func TestLoginGrace(t *testing.T) {
	e := start(t, func(s *Server) { s.cfg.Limits.LoginGrace = 4 * time.Second })
	laptop, slow := e.user("laptop", "admin"), e.user("slow", "admin")
	e.lock(slow)
	c := e.dial(laptop)
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
	r.want(t, 255, "refship: no login within 4s: the connection is closed, try again")

	nc, err := net.Dial("tcp", e.addr) // silence
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.Copy(io.Discard, nc); err != nil {
		t.Error(err)
	}
	e.exec(c, "help").want(t, 0)
	e.stop()
	if n := strings.Count(e.log.Text(), "INFO no login in time address=127.0.0.1:"); n != 2 ||
		!strings.Contains(e.log.Text(), "limit=4s remedy=login-grace-limit") {
		t.Errorf("log does not tell: %s", e.log.Text())
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
	e.git(laptop, work, "push", e.url("config"), "main").want(t, 1, "pack exceeds maximum allowed size",
		"refship: error: nothing was stored: what was pushed to config is more than 1 MiB, the most that this server takes at once\n",
		"refship: hint: push it in parts, older commits first: git push REMOTE COMMIT:BRANCH; or ask the server's operator to pack-size-limit\n",
		"[remote rejected] main -> main (unpacker error)")
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
	e.execIn(s, "git-receive-pack '/config'").want(t, 1, "git refused what was pushed")
	e.stop()
	if !strings.Contains(e.log.Text(), "push is too large") ||
		!strings.Contains(e.log.Text(), "remedy=pack-size-limit") {
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
