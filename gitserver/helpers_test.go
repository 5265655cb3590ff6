package gitserver

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy"
	"refship/deploy/etcd/embedded"
	"refship/deploy/etcd/gate"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/target"
	"refship/keys"
)

// What all tests share: programs and an etcd. Each test has namespaces of its own.
var (
	hookBinary string
	store      *embedded.Etcd
)

func TestMain(m *testing.M) {
	if isProgram() {
		return
	}
	_ = flag.Set("test.parallel", "8") // those that are parallel do nothing but wait
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(status)
}

func runTests(m *testing.M) (status int, err error) {
	dir, err := os.MkdirTemp("", "gitserver")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if hookBinary, err = fixture.BuildHook(dir); err != nil {
		return 0, err
	}
	store, err = embedded.Start(context.Background(), embedded.Config{
		Dir: filepath.Join(dir, "etcd"), Log: slog.New(slog.DiscardHandler), NoSync: true,
	})
	if err != nil {
		return 0, err
	}
	status = m.Run()
	if err := store.Close(); err != nil {
		return 0, err
	}
	if status == 0 {
		err = fixture.Leaked()
	}
	return status, err
}

// env is a running server and a place for clients.
type env struct {
	t       testing.TB
	dir     string
	addr    string
	hostKey ssh.Signer
	keys    keys.File
	repos   repos.Dir
	log     *fixture.Journal
	srv     *Server
	cancel  context.CancelFunc
	ended   chan error
}

// start runs a server until the test ends; change may set more of it first.
func start(t testing.TB, change ...func(*Server)) *env {
	t.Helper()
	return startGrace(t, 20*time.Second, change...)
}

func startGrace(t testing.TB, grace time.Duration, change ...func(*Server)) *env {
	t.Helper()
	dir := fixture.ShortDir(t)
	e := &env{
		t: t, dir: dir,
		keys:  keys.File{Path: filepath.Join(dir, "keys", "authorized_keys")},
		repos: repos.Dir{Path: filepath.Join(dir, "repos")},
		log:   fixture.NewJournal(t),
		ended: make(chan error, 1),
	}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.hostKey, err = keys.LoadOrCreate(filepath.Join(dir, "host"), "host", keys.Ed25519); err != nil {
		t.Fatal(err)
	}
	log := slog.New(e.log)
	chains := deploy.NewStore(store.Client(), deploy.Config{LeaseTTL: time.Minute, Log: log})
	hookServer, err := hooks.NewServer(hooks.Config{
		Store: chains, Signer: e.hostKey, Host: "test", Dir: filepath.Join(dir, "run"), HookBinary: hookBinary,
		Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.addr = listener.Addr().String()
	e.srv, err = New(Config{
		Listener: listener, HostKeys: []ssh.Signer{e.hostKey}, Keys: e.keys, Repos: e.repos, Hooks: hookServer, Log: log,
		Gates: gate.NewServer(store.Remote()), Remedy: fixture.Advice,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(e.srv)
	}
	e.srv.conns = e.srv.newConns() // by the limits that were changed
	hookCtx, stopHooks := context.WithCancel(context.Background())
	hooksEnded := make(chan error, 1)
	go func() { hooksEnded <- hookServer.Run(hookCtx) }()
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() { e.ended <- e.srv.Run(ctx, func() time.Duration { return grace }) }()
	t.Cleanup(func() {
		e.stop()
		stopHooks()
		if err := <-hooksEnded; err != nil {
			t.Error(err)
		}
		if err := chains.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// killGroup ends a client and what it started.
func killGroup(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// stop ends the server and checks that it ended well. It may be called again.
func (e *env) stop() {
	e.t.Helper()
	e.cancel()
	if err := <-e.ended; err != nil {
		e.t.Error(err)
	}
	e.ended <- nil
}

// namespace is one that no other test uses.
func (e *env) namespace(name string) record.Namespace {
	return record.Namespace("/test/" + filepath.Base(e.dir) + "/" + name)
}

func (e *env) target(name string) target.Target {
	return target.Target{Name: "default", Ref: "refs/heads/main", Namespace: e.namespace(name), Frontend: record.Files}
}

// repo creates a repository with a target for main.
func (e *env) repo(name string) *repos.Repository {
	e.t.Helper()
	r, err := e.repos.Create(e.t.Context(), name, git.FormatSHA1, "refs/heads/main", []target.Target{e.target(name)})
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

func (e *env) head(name string) *record.Deploy {
	e.t.Helper()
	d, err := deploy.NewStore(store.Client(), deploy.Config{LeaseTTL: time.Minute, Log: slog.New(e.log)}).Chain(
		e.namespace(name)).Head(e.t.Context())
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

// user is a key pair, known to the server if rules are given.
type user struct {
	name   string
	path   string // of the private key
	signer ssh.Signer
}

func (e *env) user(name, rules string) *user {
	e.t.Helper()
	path := filepath.Join(e.dir, "id_"+name)
	signer, err := keys.LoadOrCreate(path, name+"@test", keys.Ed25519)
	if err != nil {
		e.t.Fatal(err)
	}
	if rules != "" {
		r, err := keys.ParseRules(rules)
		if err != nil {
			e.t.Fatal(err)
		}
		if err := e.keys.Add(name, signer.PublicKey(), "test", r); err != nil {
			e.t.Fatal(err)
		}
	}
	return &user{name: name, path: path, signer: signer}
}

// sshArgs are the options that keep an OpenSSH client to itself and to this server.
func (e *env) sshArgs(identities ...string) []string {
	e.t.Helper()
	host, port, err := net.SplitHostPort(e.addr)
	if err != nil {
		e.t.Fatal(err)
	}
	known := filepath.Join(e.dir, "known_hosts")
	line := fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(e.hostKey.PublicKey()))
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		e.t.Fatal(err)
	}
	args := []string{"-F", "/dev/null", "-p", port, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o",
		"IdentityAgent=none",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known, "-o", "GlobalKnownHostsFile=/dev/null"}
	for _, i := range identities {
		args = append(args, "-o", "IdentityFile="+i)
	}
	return args
}

func (e *env) url(name string) string { return "ssh://git@" + e.addr + "/" + name }

// result is what a client program said and how it ended.
type result struct {
	stdout, stderr string
	status         int
}

func (e *env) run(cmd *exec.Cmd) result {
	e.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// sshCommand is an OpenSSH client with a remote command.
func (e *env) sshCommand(u *user, args ...string) *exec.Cmd {
	e.t.Helper()
	cmd := exec.Command("ssh", append(e.sshArgs(u.path), args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir}
	return cmd
}

func (e *env) ssh(u *user, args ...string) result {
	e.t.Helper()
	return e.run(e.sshCommand(u, args...))
}

// gitCommand is git as a user runs it, in dir.
func (e *env) gitCommand(u *user, dir string, args ...string) *exec.Cmd {
	e.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Env = fixture.GitEnv(e.dir)
	if u != nil {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh "+strings.Join(e.sshArgs(u.path), " "))
	}
	return cmd
}

func (e *env) git(u *user, dir string, args ...string) result {
	e.t.Helper()
	return e.run(e.gitCommand(u, dir, args...))
}

// mustGit is git where it has to succeed; it gives standard output without the last newline.
func (e *env) mustGit(u *user, dir string, args ...string) string {
	e.t.Helper()
	r := e.git(u, dir, args...)
	if r.status != 0 {
		e.t.Fatalf("git %s: status %d\n%s%s", strings.Join(args, " "), r.status, r.stdout, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// work makes a repository with one commit.
func (e *env) work() string {
	e.t.Helper()
	dir, err := os.MkdirTemp(e.dir, "work")
	if err != nil {
		e.t.Fatal(err)
	}
	e.mustGit(nil, dir, "init", "-q")
	e.commit(dir, "file", "one\n")
	return dir
}

func (e *env) commit(dir, file, text string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	e.mustGit(nil, dir, "add", file)
	e.mustGit(nil, dir, "commit", "-q", "-m", "change "+file)
}

// dial connects with x/crypto's own client.
func (e *env) dial(u *user) *ssh.Client {
	e.t.Helper()
	c, err := ssh.Dial("tcp", e.addr, &ssh.ClientConfig{
		User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(u.signer)},
		HostKeyCallback: ssh.FixedHostKey(e.hostKey.PublicKey()),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// exec runs one command on a connection that stands.
func (e *env) exec(c *ssh.Client, command string) result {
	e.t.Helper()
	s, err := c.NewSession()
	if err != nil {
		e.t.Fatal(err)
	}
	defer s.Close()
	return e.execIn(s, command)
}

func (e *env) execIn(s *ssh.Session, command string) result {
	e.t.Helper()
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	err := s.Run(command)
	var exit *ssh.ExitError
	r := result{stdout.String(), stderr.String(), 0}
	if errors.As(err, &exit) {
		r.status = exit.ExitStatus()
	} else if err != nil {
		e.t.Fatalf("run %q: %v", command, err)
	}
	return r
}

// fails wants a client that ended with a status, and the error of the last command, as the log has it, to be of a kind;
// see fixture.WantReason.
func (e *env) fails(r result, status int, kind fault.Kind) {
	e.t.Helper()
	r.want(e.t, status, "refship: error: ")
	fixture.WantReason(e.t, kind, e.failure(), "")
}

// whoAmI is a command that there is not: the log names the user who asked for it.
const whoAmI = "who-am-i"

// isUser wants a session that asked whoAmI to be this user's.
func (e *env) isUser(r result, name string) {
	e.t.Helper()
	e.fails(r, 2, fault.Usage)
	if line := e.last("command failed"); line["user"] != name {
		e.t.Errorf("user is not %s: %v", name, line)
	}
}

// failure is the error of the last command that failed, as the log has it; nil if there is none.
func (e *env) failure() error {
	err, _ := e.last("command failed")["error"].(error)
	return err
}

// last is the last line of the log with this message, nil if there is none.
func (e *env) last(message string) map[string]any {
	lines := e.log.About(message)
	if len(lines) == 0 {
		return nil
	}
	return lines[len(lines)-1]
}

// logged tells whether the log has a line with this message.
func (e *env) logged(message string) bool { return e.last(message) != nil }

// result is what became of the last push, as the log has it.
func (e *env) result() any { return e.last("push")["result"] }

// deployed wants a push that went well, and the chain of config at this deploy.
func (e *env) deployed(r result, id record.ID) {
	e.t.Helper()
	r.want(e.t, 0)
	if d := e.head("config"); d == nil || d.ID != id {
		e.t.Errorf("head of config is %+v, want deploy %d", d, id)
	}
}

// want checks the exit status and that standard error has all these texts, of which no kind tells: those of git and
// OpenSSH, and names.
func (r result) want(t testing.TB, status int, texts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d\nstdout: %s\nstderr: %s", r.status, status, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("stderr has no %q:\n%s", text, r.stderr)
		}
	}
}
