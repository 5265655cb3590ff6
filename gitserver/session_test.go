package gitserver

import (
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/gitserver/conns"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func TestGreet(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "deploy:config,read:site")
	e.ssh(laptop, "git@127.0.0.1").want(t, 0)
	e.repo("config")
	e.repo("site")
	e.repo("secret")
	r := e.ssh(laptop, "anybody@127.0.0.1")
	r.want(t, 0)
	for name, shown := range map[string]bool{
		ssh.FingerprintSHA256(laptop.signer.PublicKey()): true, "  config  ": true, "  site  ": true, "secret": false,
	} {
		if strings.Contains(r.stdout, name) != shown {
			t.Errorf("%q is shown: %v, want %v:\n%s", name, !shown, shown, r.stdout)
		}
	}
	r = e.ssh(laptop, "git@127.0.0.1", "help")
	r.want(t, 0)
	for _, command := range []string{"repos", "log REPO[:TARGET]", "status REPO", "deploy REPO[:TARGET]", "help"} {
		if !strings.Contains(r.stdout, "ssh -p PORT git@HOST "+command+" ") {
			t.Errorf("help has no %s: %s", command, r.stdout)
		}
	}
	e.ssh(e.user("root", "admin"), "git@127.0.0.1", "deploy", "secret").want(t, 0)
}

// TestBadCommands: each gets an error that names it, a remedy and its exit status.
func TestBadCommands(t *testing.T) {
	e := start(t)
	e.repo("config")
	e.repo("site")
	e.repo("secret")
	c := e.dial(e.user("laptop", "push:config,read:site"))
	for _, x := range []struct {
		command string
		status  int
		names   string // in the error
		others  string // in the remedy
	}{
		{"rm -rf /", 2, "rm", "help"},
		{"git", 2, "git", ""},
		{"\x1b[31mred", 2, `"\x1b[31mred"`, ""},
		{"git-upload-archive '/config'", 4, "git-upload-archive", "git archive"},
		{"git upload-archive '/config'", 4, "git-upload-archive", "git archive"},
		{"git-receive-pack", 2, "0 arguments", ""},
		{"git-receive-pack 'a' 'b'", 2, "2 arguments", ""},
		{"git-upload-pack --upload-pack=evil '/config'", 2, "--upload-pack=evil", ""},
		{"git-upload-pack '--upload-pack=evil'", 2, "--upload-pack=evil", ""},
		{"git-receive-pack '-x'", 2, "-x", ""},
		{"git-receive-pack 'config", 2, "quotes", ""},
		{"git-receive-pack \"config", 2, "quotes", ""},
		{"git-receive-pack 'con\x00fig'", 2, "NUL", ""},
		{"git-receive-pack '/config\n'", 2, "newline", ""},
		{"git-receive-pack '../config'", 2, "../config", "a name looks like"},
		{"git-receive-pack '/../../etc'", 2, "/../../etc", ""},
		{"git-receive-pack '//config'", 2, "//config", ""},
		{"git-receive-pack 'config/'", 2, "config/", ""},
		{"git-receive-pack '/'", 2, "/ is", ""},
		{"git-receive-pack ''", 2, `""`, ""},
		{"git-receive-pack '~/config'", 2, "home", ""},
		{"git-receive-pack '/~git/config'", 2, "home", ""},
		{"git-receive-pack 'config.git.git'", 2, "config.git.git", ""},
		{"git-receive-pack 'a/.git'", 2, "a/.git", ""},
		{"git-receive-pack 'con*'", 2, "character", ""},
		{"git-receive-pack '" + strings.Repeat("a", 101) + "'", 2, "101 bytes", ""},
		{"git-receive-pack '" + strings.Repeat("a", 2000) + "'", 2, "limit 1000", ""},
		{"git-receive-pack '/conifg'", 4, "conifg", "push to config"},
		{"git-receive-pack '/secret'", 4, "secret", "push to config"},
		{"git-upload-pack '/secret'", 4, "secret", "read config, site"},
		{"git-receive-pack '/site'", 4, "site", "push:site"},
		{"deploy", 2, "0 arguments", ""},
		{"deploy config", 4, "config", "deploy:config"},
		{"deploy nowhere", 4, "nowhere", "no repository"},
		{"help me", 2, "help", ""},
		{"repos all", 2, "repos", ""},
		{"log", 2, "0 arguments", ""},
		{"log a b", 2, "2 arguments", ""},
		{"log --all config", 2, "--all", "[-n N|all]"},
		{"log config -n", 2, "-n", ""},
		{"log -n 0 config", 2, "-n: 0", ""},
		{"log -n -1 config", 2, "-n: -1", ""},
		{"log -n 99999999999 config", 2, "-n: 99999999999", ""},
		{"log -n 1 -n 2 config", 2, "option: -n", ""},
		{"log -x", 2, "-x", ""},
		{"log config:", 2, "config:", ""},
		{"log config:De", 4, `"De"`, "default"},
		{"log :default", 2, `""`, ""},
		{"log config:a:b", 4, `"a:b"`, ""},
		{"log secret", 4, "secret", "read config, site"},
		{"log nowhere:x", 4, "nowhere", ""},
		{"status", 2, "0 arguments", ""},
		{"status config:default", 2, "config:default", ""},
		{"status secret", 4, "secret", ""},
		{"deploy config:default", 4, "config", "deploy:config"},
		{"log config:\x1b", 4, `"\x1b"`, ""},
		{"deploy -n 1 config", 2, "-n", ""},
		{"git-receive-pack '/config:default'", 2, "config:default", ""},
		{"roll config 1 reason", 2, "roll", ""},
		{"rollback config 1 reason", 4, "config", "deploy:config"},
	} {
		r := e.exec(c, x.command)
		e.fails(r, x.status, fault.Kind(x.status))
		r.want(t, x.status, "refship: hint: ", x.names)
		if fixture.WantFault(t, fault.Kind(x.status), e.failure(), "", x.others); r.stdout != "" {
			t.Errorf("%s: stdout has %q", x.command, r.stdout)
		}
	}
	names, err := e.repos.Names()
	if err != nil || len(names) != 3 {
		t.Errorf("repositories are %v, %v", names, err)
	}
}

// TestNotGranted asks for everything that a session may not have.
func TestNotGranted(t *testing.T) {
	e := start(t)
	c := e.dial(e.user("laptop", "admin"))
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err == nil {
		t.Error("terminal granted")
	}
	if err := s.RequestSubsystem("sftp"); err == nil {
		t.Error("subsystem granted")
	}
	if err := agent.RequestAgentForwarding(s); err == nil {
		t.Error("agent forwarding granted")
	}
	for _, req := range []string{"x11-req", "break", "window-change", "signal", "eow@openssh.com", notGranted,
		"exec", "env"} {
		ok, err := s.SendRequest(req, true, []byte{0, 0, 0, 9, 'x'}) // no string: malformed where a string is due
		if ok || err != nil {
			t.Errorf("%s: %v, %v", req, ok, err)
		}
	}
	for _, kv := range [][2]string{
		{"FOO", "1"}, {"GIT_DIR", "/x"}, {"GIT_PROTOCOL", "version=2\nx"}, {"GIT_PROTOCOL", "version=9"},
		{"BAD\x1b", "1"},
		{"LANG", "C"}, {"LC_ALL", "C"}, {"TERM", "x"}, {"COLORTERM", "x"}, {"NO_COLOR", "1"},
	} {
		if err := s.Setenv(kv[0], kv[1]); err == nil {
			t.Errorf("%s granted", kv[0])
		}
	}
	if err := s.Setenv("GIT_PROTOCOL", "version=2:x=y"); err != nil {
		t.Error(err)
	}
	r := e.execIn(s, "help")
	r.want(t, 0)
	want := "refship: environment variable FOO not taken: only GIT_PROTOCOL is\n" +
		"refship: environment variable GIT_DIR not taken: only GIT_PROTOCOL is\n" +
		"refship: environment variable GIT_PROTOCOL not taken: its value is not version=0, 1 or 2\n" +
		"refship: environment variable GIT_PROTOCOL not taken: its value is not version=0, 1 or 2\n" +
		`refship: environment variable "BAD\x1b" not taken: only GIT_PROTOCOL is` + "\n"
	if r.stderr != want {
		t.Errorf("got %s\nwant %s", r.stderr, want)
	}

	if _, err := c.Dial("tcp", e.addr); err == nil {
		t.Error("forwarding granted")
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("remote forwarding granted")
	}
	if _, _, err := c.OpenChannel("x11", nil); err == nil {
		t.Error("x11 channel granted")
	}
	// OpenSSH takes any answer to this as a sign of life, and none as death.
	if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
		t.Errorf("keepalive: %v", err)
	}
	e.exec(c, "help").want(t, 0) // the connection is well
}

func TestSessionLimit(t *testing.T) {
	e := start(t)
	c := e.dial(e.user("laptop", "admin"))
	var open []*ssh.Session
	for range conns.MaxSessions {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := c.NewSession(); err == nil || !strings.Contains(err.Error(), "10 sessions") {
		t.Errorf("got %v", err)
	}
	for _, s := range open {
		e.execIn(s, "help").want(t, 0)
	}
}
