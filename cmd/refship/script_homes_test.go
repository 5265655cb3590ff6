package main

// Scripts about repositories that live elsewhere have these commands, too:
//
//	sshd DIR                     a real sshd, one process for each connection to a port of its own; $PORT is the port and
//	                             $URL is ssh://ACCOUNT@127.0.0.1:PORT, where ACCOUNT runs the test. DIR is the
//	                             home directory of the account that logs in; DIR/.ssh/authorized_keys has the keys and
//	                             what each may do
//	gitolite-setup CONF NAME...  a real gitolite in $GITOLITE, reached through such an sshd; what has been put there
//	                             before, hooks in $GITOLITE/local/hooks above all, is its LOCAL_CODE. It is set up with
//	                             the key of admin, who then pushes CONF as conf/gitolite.conf and the keys of the
//	                             NAMEs, made by keygen. $URL/REPO is a repository, and
//	                             $GITOLITE/repositories/REPO.git is where it is
//	gitolite-conf CONF NAME...   push another configuration, and more keys
//	snapshot NAME PATH...        remember kind, mode, inode, owner, link target and sha256 of all that is below the PATHs
//	cmpsnapshot NAME             all of it is as it was, and nothing else is there
//
// The conditions [sshd] and [gitolite] hold where there are such programs; .ci/run gets them.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"refship/deploy/fixture"
)

// privilegeDir is where an sshd that root runs stays without privileges; Debian has compiled it in.
const privilegeDir = "/run/sshd"

// homesCondition says whether a tool is there, and can run.
func homesCondition(condition string) (bool, error) {
	switch condition {
	case "sshd":
		return sshdMissing() == nil, nil
	case "gitolite":
		_, err := exec.LookPath("gitolite")
		return err == nil, nil
	}
	if module, ok := strings.CutPrefix(condition, "python:"); ok {
		return pythonHas(module) == nil, nil
	}
	return false, fmt.Errorf("unknown condition %q", condition)
}

func pythonHas(module string) error { return exec.Command("python3", "-c", "import "+module).Run() }

func sshdMissing() error {
	if _, err := exec.LookPath("sshd"); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		return nil
	}
	_, err := os.Stat(privilegeDir)
	return err
}

// As with TestScriptsHaveTheirTools: where everything must run, a script that skips itself is a failure here.
func TestScriptsHaveTheirHomes(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"gitolite", "sshd"} {
		fixture.Need(t, tool)
	}
	if err := sshdMissing(); err == nil {
		return
	} else if os.Getenv("REFSHIP_REQUIRE_TOOLS") != "" {
		t.Fatalf("sshd, run by root, lacks its directory: %v", err)
	}
	t.Skip("sshd, run by root, lacks " + privilegeDir)
}

// inetd runs an sshd for each connection, as inetd does: sshd needs no free port told in advance, and a test waits for
// nothing. Its methods may be called concurrently.
type inetd struct {
	listener net.Listener
	program  string
	config   string

	ctx     context.Context // ends with the script
	servers sync.WaitGroup
	mu      sync.Mutex
	said    bytes.Buffer
}

func (d *inetd) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Write(p)
}

func (d *inetd) run() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.servers.Go(func() {
			defer conn.Close()
			if err := d.serve(conn.(*net.TCPConn)); err != nil {
				fmt.Fprintln(d, "sshd:", err)
			}
		})
	}
}

func (d *inetd) serve(conn *net.TCPConn) error {
	file, err := conn.File()
	if err != nil {
		return err
	}
	defer file.Close()
	// sshd wants to be run by an absolute path.
	cmd := exec.CommandContext(d.ctx, d.program, "-i", "-e", "-f", d.config)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, d
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = patience
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // 255, whenever the client says goodbye
	}
	return err
}

func cmdSSHD(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sshd DIR")
	}
	startSSHD(ts, ts.MkAbs(args[0]))
}

// startSSHD gives those who log in home as their home directory, and no other environment than the test's own of git.
func startSSHD(ts *testscript.TestScript, home string) {
	program, err := exec.LookPath("sshd")
	ts.Check(err)
	account, err := user.Current()
	ts.Check(err)
	dir := filepath.Join(ts.MkAbs("."), "sshd")
	ts.Check(os.Mkdir(dir, 0o700))
	ts.Check(ts.Exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "host")))
	config := filepath.Join(dir, "config")
	env := "HOME=" + home + " GIT_CONFIG_NOSYSTEM=1"
	if format := ts.Getenv("GIT_DEFAULT_HASH"); format != "" {
		env += " GIT_DEFAULT_HASH=" + format
	}
	ts.Check(os.WriteFile(config, []byte(strings.Join([]string{
		"HostKey " + filepath.Join(dir, "host"),
		"AuthorizedKeysFile " + filepath.Join(home, ".ssh", "authorized_keys"),
		"SetEnv " + env,
		"AuthenticationMethods publickey",
		"PermitRootLogin yes", // a CI job is root's
		"PermitUserRC no",     // it would be the account's, not the test's
		"StrictModes no",      // the test's directory lies below a temporary one
		"UsePAM no",
		"PidFile none",
		"LogLevel VERBOSE",
	}, "\n")+"\n"), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	d := &inetd{listener: listener, program: program, config: config, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.run()
	}()
	ts.Defer(func() {
		_ = listener.Close() // no other code does
		<-done
		cancel()
		d.servers.Wait()
		ts.Logf("[sshd]\n%s", &d.said)
	})
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	ts.Setenv("PORT", port)
	ts.Setenv("URL", "ssh://"+account.Username+"@127.0.0.1:"+port)
}

// addGitoliteRC says where local code is, in the file that gitolite setup has written.
func addGitoliteRC(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines, ok := bytes.CutSuffix(bytes.TrimSpace(text), []byte("# vim: set syn=perl:"))
	if !ok {
		return fmt.Errorf("%s does not end as it used to", path)
	}
	const local = `
$RC{LOCAL_CODE} = "$ENV{HOME}/local";
push @{ $RC{ENABLE} }, 'repo-specific-hooks' if -d "$ENV{HOME}/local/hooks/repo-specific";
1;
`
	return os.WriteFile(path, append(lines, local...), 0o600)
}

func cmdGitoliteSetup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gitolite-setup CONF NAME...")
	}
	home := filepath.Join(ts.MkAbs("."), "gitolite")
	ts.Check(os.MkdirAll(home, 0o700))
	ts.Setenv("GITOLITE", home)
	gitolite := func(args ...string) {
		ts.Check(ts.Exec("env", append([]string{"HOME=" + home, "USER=git", "gitolite"}, args...)...))
	}
	// What is pushed to any other branch of gitolite-admin is no configuration to gitolite.
	ts.Check(os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[init]\n\tdefaultBranch = master\n"), 0o600))
	gitolite("setup", "-pk", keyFile(ts, "admin")+".pub")
	if _, err := os.Stat(filepath.Join(home, "local")); err == nil {
		ts.Check(addGitoliteRC(filepath.Join(home, ".gitolite.rc")))
		gitolite("setup")
	}
	startSSHD(ts, home)
	cmdGitoliteConf(ts, false, args)
}

// cmdGitoliteConf configures gitolite as its users do, by a push.
func cmdGitoliteConf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gitolite-conf CONF NAME...")
	}
	before := ts.Getenv("GIT_SSH_COMMAND")
	cmdAs(ts, false, []string{"admin"})
	defer ts.Setenv("GIT_SSH_COMMAND", before)
	clone := ts.MkAbs("gitolite-admin")
	if _, err := os.Stat(clone); errors.Is(err, fs.ErrNotExist) {
		ts.Check(ts.Exec("git", "clone", "-q", ts.Getenv("URL")+"/gitolite-admin", clone))
	}
	ts.Check(os.WriteFile(filepath.Join(clone, "conf", "gitolite.conf"), []byte(ts.ReadFile(args[0])), 0o600))
	for _, name := range args[1:] {
		ts.Check(os.WriteFile(filepath.Join(clone, "keydir", name+".pub"), []byte(ts.ReadFile(keyFile(ts, name)+".pub")),
			0o600))
	}
	ts.Check(ts.Exec("git", "-C", clone, "add", "."))
	ts.Check(ts.Exec("git", "-C", clone, "commit", "-q", "-m", "who may do what"))
	ts.Check(ts.Exec("git", "-C", clone, "push", "-q", "origin", "HEAD"))
}

// snapshotsKey is where a script's snapshots are.
type snapshotsKey struct{}

// snapshot is what was at some paths, for comparing.
type snapshot struct {
	paths []string
	lines []string
}

func cmdSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: snapshot NAME PATH...")
	}
	var paths []string
	for _, path := range args[1:] {
		paths = append(paths, ts.MkAbs(path))
	}
	ts.Value(snapshotsKey{}).(map[string]snapshot)[args[0]] = snapshot{paths, takeSnapshot(ts, paths)}
}

func cmdCmpSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] cmpsnapshot NAME")
	}
	then, ok := ts.Value(snapshotsKey{}).(map[string]snapshot)[args[0]]
	if !ok {
		ts.Fatalf("no snapshot %s", args[0])
	}
	now := takeSnapshot(ts, then.paths)
	if same := slices.Equal(then.lines, now); same == neg {
		ts.Fatalf("snapshot %s: same is %v (-then +now):\n%s", args[0], same, cmp.Diff(then.lines, now))
	}
}

// takeSnapshot gives one line for each thing at or below the paths. The inode of a directory, and of git's config,
// which git itself replaces at every change, is not part of it, and times are not.
func takeSnapshot(ts *testscript.TestScript, paths []string) []string {
	var lines []string
	for _, path := range paths {
		ts.Check(filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			stat := info.Sys().(*syscall.Stat_t)
			line := fmt.Sprintf("%s %s owner=%d:%d", path, info.Mode(), stat.Uid, stat.Gid)
			switch {
			case info.Mode().IsRegular():
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" sha256=%x", sha256.Sum256(text))
				if entry.Name() != "config" {
					line += fmt.Sprintf(" inode=%d", stat.Ino)
				}
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(path)
				if err != nil {
					return err
				}
				line += " -> " + target
			}
			lines = append(lines, line)
			return nil
		}))
	}
	return lines
}
