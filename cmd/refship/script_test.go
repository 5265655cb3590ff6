package main

// The scripts in testdata/script run the real programs, refship and refship-hook, with the system's git, ssh and
// ssh-keygen. Beside testscript's own commands (go doc github.com/rogpeppe/go-internal/testscript) they have:
//
//	keygen NAME...             make the ssh key pairs $HOME/.ssh/NAME and NAME.pub
//	as NAME                    git and ssh use that key from here on
//	serve NAME [FLAG...]       start `refship serve --listen 127.0.0.1:0` in the background; when its port is open,
//	                           $PORT is the port, $URL is ssh://git@127.0.0.1:PORT, and where etcd listens, too,
//	                           $ETCD is its URL and $ETCD_ADDR its HOST:PORT; $HTTP is the URL of --http
//	[!] said NAME REGEXP       wait until the server has written what matches to standard error; with !, it has not
//	signal NAME SIGNAL         send TERM, INT or KILL
//	[!] waitserver NAME        wait for the end, which must be exit 0, with ! not; what it wrote is there for stderr
//	stopserver NAME [SIGNAL]   signal (TERM if none is named) and waitserver (with ! after KILL)
//	status N PROGRAM [ARG...]  run a program, whose exit status must be exactly N; then as exec
//	etcdput KEY VALUE|@FILE    write a key of $ETCD
//	etcddel KEY                delete it; it must be there
//	etcdget KEY FILE           write its value into a file
//	etcddump FILE              write every key of $ETCD into a file, with version, revision and the value's sha256
//	etcd …, certificates DIR   a real etcd of its own: script_etcd_test.go
//	etcdfill, etcdwaste …      an etcd without room: script_room_test.go
//	tamper PREFIX              change the last byte of each value in $ETCD whose key starts with PREFIX; again: change it
// back
//	mgmtruns, mgmtgolden …     see script_mgmt_test.go
//	fetch URL STATUS [REGEXP]  see script_http_test.go
//	browse …, nosecret …       see script_web_test.go
//	receiver …, received …     see script_notify_test.go
//	logged …, knock PORT       see script_logs_test.go
//	sshd, gitolite-setup …     see script_homes_test.go
//	[!] sametree DIR1 DIR2     the trees are the same: names, kinds, modes for execution, contents, link targets
//
// With REFSHIP_TEST_OBJECT_FORMAT=sha256 repositories have SHA-256 object names where a script names no format. Some
// scripts run with both in any case (script_format_test.go). $OBJECT_FORMAT is the format.
//
// Each script has a scratch $HOME with a git identity, $DATA, a data directory that REFSHIP_DATA_DIR names, and
// $PROGRAMS, the directory of refship and refship-hook.

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"refship/deploy/fixture"
)

// patience bounds every wait for something that takes milliseconds on a machine that does nothing else.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(onDiskEnv) != "" {
		os.Exit(m.Run()) // the programs are built, and in PATH
	}
	_ = flag.Set("test.parallel", "4") // most tests wait; the command line comes later
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(sig) { // under nohup(1), or behind a shell's &: what the tests run would ignore it, too
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	bin, err := buildPrograms()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for name, value := range map[string]string{"PATH": bin + string(os.PathListSeparator) + os.Getenv("PATH"),
		raceOptions: noSleep} {
		if err := os.Setenv(name, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	status := m.Run()
	os.RemoveAll(bin)
	os.Exit(status)
}

// A program with the race detector sleeps for a second before it exits, in case another goroutine still has a race to
// tell of. The scripts run hundreds of programs, and what races is the server while it works.
const (
	raceOptions = "GORACE"
	noSleep     = "atexit_sleep_ms=0"
)

// plainDir, beside the programs that the scripts run, has them without the race detector: it makes them so slow that
// kills would hit little else than starts.
const plainDir = "plain"

// buildPrograms builds both programs, with the failure points: as this test was built, and plain. refship-hook, which
// only passes on what goes between git and the server, is always plain.
func buildPrograms() (dir string, err error) {
	dir, err = os.MkdirTemp("", "refship-bin-")
	if err != nil {
		return "", err
	}
	if !raceEnabled {
		return dir, errors.Join(build(dir), os.Symlink(".", filepath.Join(dir, plainDir)))
	}
	plain := filepath.Join(dir, plainDir)
	if err := errors.Join(build(dir, "-race"), build(plain)); err != nil {
		return dir, err
	}
	// git gives hooks none of the server's environment, so that theirs would sleep, twice in each push.
	hook := filepath.Join(dir, "refship-hook")
	return dir, errors.Join(os.Remove(hook), os.Link(filepath.Join(plain, "refship-hook"), hook))
}

func build(dir string, flags ...string) error {
	// -w leaves out what only a debugger reads, which halves the time of linking.
	args := append([]string{
		"build", "-ldflags=-w", "-tags", "failpoint", "-o", dir + string(filepath.Separator),
	}, flags...)
	cmd := exec.Command("go", append(args, "refship/cmd/refship", "refship/cmd/refship-hook")...)
	if len(flags) == 0 { // as make build and make packages do, so that Go's cache has most of it for all of them
		cmd.Args = slices.Insert(cmd.Args, 2, "-trimpath")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	runScripts(t, files, os.Getenv("REFSHIP_TEST_OBJECT_FORMAT"))
}

// runScripts runs scripts in which git, and refship, make repositories of an object format: "", or as git calls it.
func runScripts(t *testing.T, files []string, format string) {
	t.Helper()
	deadline, _ := t.Deadline()
	testscript.RunT(failureLast{t}, testscript.Params{
		Deadline:            deadline,
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			return errors.Join(setupScript(env), setupFormat(env, format))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"keygen": cmdKeygen, "as": cmdAs, "serve": cmdServe, "said": cmdSaid, "background": cmdBackground, "eventually": cmdEventually,
			"encrypt": cmdEncrypt, "signal": cmdSignal,
			"waitserver": cmdWaitServer, "stopserver": cmdStopServer,
			"status": cmdStatus, "sametree": cmdSameTree, "tamper": cmdTamper, "copykeys": cmdCopyKeys,
			"browse": cmdBrowse, "nosecret": cmdNoSecret,
			"fetch": cmdFetch, "logged": cmdLogged, "knock": cmdKnock,
			"etcd": cmdEtcd, "certificates": cmdCertificates,
			"etcdfill": cmdEtcdFill, "etcdwaste": cmdEtcdWaste, "etcdempty": cmdEtcdEmpty,
			"etcdput": cmdEtcdPut, "etcdget": cmdEtcdGet, "etcddel": cmdEtcdDel, "etcddump": cmdEtcdDump,
			"mgmtruns": cmdMgmtRuns, "mgmtgolden": cmdMgmtGolden,
			"sshd": cmdSSHD, "gitolite-setup": cmdGitoliteSetup, "gitolite-conf": cmdGitoliteConf,
			"snapshot": cmdSnapshot, "cmpsnapshot": cmdCmpSnapshot,
			"receiver": cmdReceiver, "received": cmdReceived,
		},
		Condition: homesCondition,
	})
}

// failureLast is a test whose log ends with the command that failed. testscript writes what the servers wrote after it,
// and a CI that shows the end of a long log would show only that.
type failureLast struct{ *testing.T }

func (t failureLast) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(failureLast{t}) })
}

func (t failureLast) Verbose() bool { return testing.Verbose() }

func (t failureLast) Log(args ...any) {
	t.T.Log(args...)
	if failure := failureOf(fmt.Sprint(args...)); failure != "" {
		t.T.Log("what failed, once more:\n" + failure)
	}
}

var failed = regexp.MustCompile(`(?m)^FAIL: .*$`)

// failureOf is the part of a script's log from its last command to why that failed; "" if none did.
func failureOf(log string) string {
	at := failed.FindStringIndex(log)
	if at == nil {
		return ""
	}
	return log[strings.LastIndex(log[:at[0]], "\n> ")+1 : at[1]]
}

// serversKey is where a script's servers are.
type serversKey struct{}

func setupScript(env *testscript.Env) error {
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return err
	}
	env.Values[serversKey{}] = map[string]*background{}
	env.Values[membersKey{}] = new([]*fixture.Process)
	env.Values[snapshotsKey{}] = map[string]snapshot{}
	env.Values[browsersKey{}] = map[string]http.CookieJar{}
	env.Values[receiversKey{}] = map[string]*receiver{}
	// Servers run with the race detector, all else that a script runs is plain: starting alone takes ten times as long.
	programs, err := exec.LookPath("refship")
	if err != nil {
		return err
	}
	plain := filepath.Join(filepath.Dir(programs), plainDir)
	for name, value := range map[string]string{
		"PROGRAMS": plain, "PATH": plain + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME": home,
		"DATA": filepath.Join(env.WorkDir, "data"), "REFSHIP_DATA_DIR": filepath.Join(env.WorkDir, "data"),
		"ETCDCTL_DIAL_TIMEOUT": "60s", "ETCDCTL_COMMAND_TIMEOUT": "60s", // bcrypt is slow under the race detector
		"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC",
		"GIT_AUTHOR_NAME": "Ann Author", "GIT_AUTHOR_EMAIL": "ann@example.com",
		"GIT_COMMITTER_NAME": "Cam Committer", "GIT_COMMITTER_EMAIL": "cam@example.com",
		raceOptions:       noSleep,
		"GIT_SSH_COMMAND": "false", // until the script says as whom
	} {
		env.Setenv(name, value)
	}
	return os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[init]\n\tdefaultBranch = main\n"), 0o600)
}

// setupFormat makes a format git's default, and that of the servers, as of one that ran on $DATA before.
func setupFormat(env *testscript.Env, format string) error {
	env.Setenv("OBJECT_FORMAT", cmp.Or(format, "sha1"))
	if format == "" {
		return nil
	}
	env.Setenv("GIT_DEFAULT_HASH", format)
	env.Setenv("REFSHIP_OBJECT_FORMAT", format)
	run := filepath.Join(env.Getenv("DATA"), "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(run, "object-format"), []byte(format+"\n"), 0o600)
}

func cmdKeygen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: keygen NAME...")
	}
	for _, name := range args {
		ts.Check(ts.Exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name+"@example", "-f", keyFile(ts, name)))
	}
}

func keyFile(ts *testscript.TestScript, name string) string {
	return filepath.Join(ts.Getenv("HOME"), ".ssh", name)
}

func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: as NAME")
	}
	ts.Setenv("GIT_SSH_COMMAND", "ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR"+
		" -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile="+keyFile(ts, "known_hosts")+" -i "+keyFile(ts, args[0]))
}

// background is a running server. What it writes is kept, and changes are told.
type background struct {
	cmd *exec.Cmd

	mu      sync.Mutex
	said    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
	ended   chan struct{} // closed when the process has ended and all of its output is there
	err     error         // how it ended
}

func (b *background) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	return b.said.Write(p)
}

// wait waits until what was said matches; nil if it does not, or not in time.
func (b *background) wait(pattern *regexp.Regexp) []string {
	deadline := time.After(patience)
	for last := false; ; {
		b.mu.Lock()
		match, changed := pattern.FindStringSubmatch(b.said.String()), b.changed
		b.mu.Unlock()
		if match != nil || last {
			return match
		}
		select {
		case <-changed:
		case <-b.ended:
			last = true
		case <-deadline:
			return nil
		}
	}
}

func (b *background) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said.String()
}

func servers(ts *testscript.TestScript) map[string]*background {
	return ts.Value(serversKey{}).(map[string]*background)
}

func findServer(ts *testscript.TestScript, name string) *background {
	server := servers(ts)[name]
	if server == nil {
		ts.Fatalf("no server %s", name)
	}
	return server
}

var listening = regexp.MustCompile(
	`(?m)^(?:refship: |\{.*"msg":")listening on ssh://127\.0\.0\.1:(\d+), host key SHA256:\S+$`)

var etcdListening = regexp.MustCompile(`(?m)^refship: etcd listening on (\S+)$`)

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve NAME [FLAG...]")
	}
	name, flags := args[0], append([]string{"serve", "--listen", "127.0.0.1:0"}, args[1:]...)
	cmd := exec.Command("refship", flags...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnv(ts)
	server := &background{cmd: cmd, changed: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = server, server
	ts.Check(cmd.Start())
	go func() {
		server.err = cmd.Wait()
		close(server.ended)
	}()
	servers(ts)[name] = server
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-server.ended
		ts.Logf("[server %s]\n%s", name, server.text())
	})
	match := server.wait(listening)
	if match == nil {
		ts.Fatalf("server %s does not listen; it said:\n%s", name, server.text())
	}
	ts.Setenv("PORT", match[1])
	ts.Setenv("URL", "ssh://git@127.0.0.1:"+match[1])
	if slices.Contains(args, "--http") {
		if match = server.wait(httpListening); match == nil {
			ts.Fatalf("server %s does not say where HTTP is; it said:\n%s", name, server.text())
		}
		ts.Setenv("HTTP", strings.Replace(match[1], "0.0.0.0", "127.0.0.1", 1))
	}
	// The server says all of this in one write, so it is there.
	if match := etcdListening.FindStringSubmatch(server.text()); match != nil {
		ts.Setenv("ETCD", match[1])
		ts.Setenv("ETCD_ADDR", strings.TrimPrefix(match[1], "http://"))
	}
}

// scriptEnv is the script's environment as far as refship looks at it.
func scriptEnv(ts *testscript.TestScript) []string {
	env := []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + ts.Getenv("TMPDIR")}
	for _, name := range []string{"REFSHIP_DATA_DIR", "REFSHIP_OBJECT_FORMAT", "REFSHIP_FAILPOINT", "REFSHIP_FAILPOINT_FIFO", "REFSHIP_LOG_LEVEL",
		"REFSHIP_ENDPOINTS", "STATE_DIRECTORY", "XDG_DATA_HOME", raceOptions} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func cmdSaid(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] said NAME REGEXP")
	}
	server, pattern := findServer(ts, args[0]), regexp.MustCompile("(?m)"+args[1])
	if neg {
		if text := server.text(); pattern.MatchString(text) {
			ts.Fatalf("server %s said what matches %s:\n%s", args[0], args[1], text)
		}
	} else if server.wait(pattern) == nil {
		ts.Fatalf("server %s said nothing that matches %s:\n%s", args[0], args[1], server.text())
	}
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP,
		"KILL": syscall.SIGKILL}
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME TERM|INT|HUP|KILL")
	}
	ts.Check(findServer(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

func cmdWaitServer(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] waitserver NAME")
	}
	server := findServer(ts, args[0])
	select {
	case <-server.ended:
	case <-time.After(2 * patience):
		ts.Fatalf("server %s does not end; it said:\n%s", args[0], server.text())
	}
	delete(servers(ts), args[0])
	fmt.Fprint(ts.Stderr(), server.text())
	if (server.err != nil) != neg {
		ts.Fatalf("server %s: %v", args[0], server.err)
	}
}

func cmdStopServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: stopserver NAME [TERM|INT|HUP|KILL]")
	}
	signal := "TERM"
	if len(args) == 2 {
		signal = args[1]
	}
	cmdSignal(ts, false, []string{args[0], signal})
	cmdWaitServer(ts, signal == "KILL", args[:1])
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case err == nil && want == 0:
	case errors.As(err, &exit) && exit.ExitCode() == want:
	default:
		ts.Fatalf("%s: want exit status %d, got: %v", strings.Join(args[1:], " "), want, err)
	}
}

func cmdSameTree(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] sametree DIR1 DIR2")
	}
	a, err := describeTree(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := describeTree(ts.MkAbs(args[1]))
	ts.Check(err)
	if same := slices.Equal(a, b); same == neg {
		ts.Fatalf("%s and %s: same is %v\n%s\n\n%s", args[0], args[1], same, strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// describeTree gives one line for each thing below dir, which may be a link.
func describeTree(dir string) ([]string, error) {
	var lines []string
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(text)
		case info.Mode()&fs.ModeSymlink != 0:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		lines = append(lines, fmt.Sprintf("%q %s exec=%v %q", path[len(dir):], info.Mode().Type(), info.Mode()&0o100 != 0,
			content))
		return nil
	})
	return lines, err
}
