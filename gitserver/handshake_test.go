package gitserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fixture"
	"refship/keys"
)

// startWithBoth starts a server that has an ECDSA host key, too.
func startWithBoth(t *testing.T) (e *env, second ssh.PublicKey) {
	t.Helper()
	signer, err := keys.LoadOrCreate(filepath.Join(t.TempDir(), "host_ecdsa"), "second", keys.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, func(s *Server) { s.ssh.AddHostKey(signer) }), signer.PublicKey()
}

// greet connects with the system's ssh, which knows the host keys.
func (e *env) greet(u *user, known []ssh.PublicKey, options ...string) (r result, knownNow string) {
	e.t.Helper()
	args := append(options, e.sshArgs(u.path)...)
	path := filepath.Join(e.dir, "known_hosts")
	var lines strings.Builder
	for _, key := range known {
		fmt.Fprintf(&lines, "[127.0.0.1]:%s %s", e.port(), ssh.MarshalAuthorizedKey(key))
	}
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		e.t.Fatal(err)
	}
	r = e.run(exec.Command("ssh", append(args, "git@127.0.0.1")...))
	after, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return r, string(after)
}

func (e *env) port() string {
	_, port, err := net.SplitHostPort(e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	return port
}

// TestHostKeys: a client that knows no ed25519 is served. Others are asked for the ed25519 key first, as before.
func TestHostKeys(t *testing.T) {
	e, second := startWithBoth(t)
	u := e.user("laptop", "read:*")
	first := e.hostKey.PublicKey()
	old := []string{"-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256"}
	r, _ := e.greet(u, []ssh.PublicKey{second}, old...)
	r.want(t, 0)
	// One that knows the ed25519 key, or both, is not asked anew.
	for _, known := range [][]ssh.PublicKey{{first}, {second, first}} {
		r, _ := e.greet(u, known)
		r.want(t, 0)
	}
	// One that knows none learns the ed25519 key.
	r, learned := e.greet(u, nil, "-o", "StrictHostKeyChecking=accept-new")
	r.want(t, 0)
	if !strings.Contains(learned, " ssh-ed25519 ") || strings.Contains(learned, "ecdsa") {
		t.Errorf("a new client learns %s", learned)
	}
	out, err := exec.Command("ssh-keyscan", "-p", e.port(), "127.0.0.1").CombinedOutput()
	for _, key := range []ssh.PublicKey{first, second} {
		if !strings.Contains(string(out), string(ssh.MarshalAuthorizedKey(key))) {
			t.Errorf("ssh-keyscan does not find %s: %v\n%s", key.Type(), err, out)
		}
	}
}

// TestFailedHandshakes: the operator reads which client could not talk with the server, and why. Probes of the port and
// keys that were refused make no such line.
func TestFailedHandshakes(t *testing.T) {
	const failed = "handshake failed"
	e := start(t)
	u := e.user("laptop", "read:*")
	r, _ := e.greet(u, nil, "-o", "HostKeyAlgorithms=rsa-sha2-512")
	if r.status == 0 {
		t.Error("a client that wants an RSA key was served")
	}
	lines := e.waitFor(failed, 1)
	for attribute, want := range map[string]string{
		"address": "127.0.0.1:", "client": "SSH-2.0-OpenSSH_", "reason": "rsa-sha2-512",
	} {
		if got := fmt.Sprint(lines[0][attribute]); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", attribute, got, want)
		}
	}

	e.say("") // a probe
	stranger := e.user("stranger", "")
	r, _ = e.greet(stranger, []ssh.PublicKey{e.hostKey.PublicKey()})
	if r.status == 0 {
		t.Error("a stranger was served")
	}
	e.waitFor("key is not known", 1)
	e.say("GET / HTTP/1.0\r\n\r\n")
	lines = e.waitFor(failed, 2)
	if got := lines[1]["client"]; got != "GET / HTTP/1.0" {
		t.Errorf("client: got %q", got)
	}
	if got := lines[1]["reason"]; got != "the client closed the connection" {
		t.Errorf("reason: got %q", got)
	}

	// What outsiders say is bounded, in number and size.
	for range 40 {
		e.say(strings.Repeat("x", 300) + "\x1b[0m\n")
	}
	e.say("") // its handler begins after the others'
	fixture.Eventually(t, func() bool { return e.srv.Stats().Connections == 0 })
	lines = e.log.About(failed)
	if len(lines) > 25 {
		t.Errorf("%d lines", len(lines))
	}
	if got := fmt.Sprint(lines[len(lines)-1]["client"]); len(got) != maxVersion {
		t.Errorf("client: got %d bytes", len(got))
	}
}

// waitFor waits for n lines of the log.
func (e *env) waitFor(message string, n int) []map[string]any {
	e.t.Helper()
	fixture.Eventually(e.t, func() bool { return len(e.log.About(message)) >= n })
	return slices.Clip(e.log.About(message))
}

// say connects, says something and leaves.
func (e *env) say(words string) {
	e.t.Helper()
	c, err := net.Dial("tcp", e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(words)); err != nil {
		e.t.Fatal(err)
	}
}
