package hooks_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks"
)

// runHook runs refship-hook as git does, with nothing but these variables.
func runHook(t testing.TB, name, input string, env ...string) (status int, said string) {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(hookBinary, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link)
	cmd.Env = env
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stderr.String()
}

const zero = "0000000000000000000000000000000000000000"

// refuses runs a hook that has to fail, and to tell why and what to do.
func refuses(t testing.TB, name, input string, env ...string) (said string) {
	t.Helper()
	status, said := runHook(t, name, input, env...)
	if status != 1 || !strings.Contains(said, "refship: ") || !strings.Contains(said, "\nrefship: hint: ") {
		t.Errorf("status is %d, want 1, and a hint\n%s", status, said)
	}
	return said
}

func TestHookWithoutServerRefuses(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"pre-receive", "post-receive", "update"} {
		refuses(t, name, "")
	}
	for _, socket := range []string{filepath.Join(t.TempDir(), "s"), "/" + strings.Repeat("x", 200)} {
		for _, name := range []string{"pre-receive", "post-receive"} {
			refuses(t, name, "", "REFSHIP_HOOK_SOCKET="+socket, "REFSHIP_HOOK_TOKEN=x")
		}
	}
}

// oddServer answers one hook with these bytes and goes away.
func oddServer(t testing.TB, answer []byte) []string {
	t.Helper()
	dir := fixture.ShortDir(t)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for { // up to the end frame
			var head [5]byte
			if _, err := io.ReadFull(conn, head[:]); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[1:]))); err != nil {
				t.Error(err)
			}
			if head[0] == 'e' {
				break
			}
		}
		if _, err := conn.Write(answer); err != nil && len(answer) > 0 {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return []string{"REFSHIP_HOOK_SOCKET=" + filepath.Join(dir, "s"), "REFSHIP_HOOK_TOKEN=x"}
}

func TestHookDoesNotTakeAnOddAnswerForConsent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, answer, says string }{
		{"nothing", "", "went away"},
		{"half a frame head", "x\x00", "went away"},
		{"words only", "o\x00\x00\x00\x06hello\n", "went away"},
		{"half a frame", "o\x00\x00\x00\x09hello", "went away"},
		{"unknown frame", "y\x00\x00\x00\x01\x00", "unknown frame"},
		{"long exit", "x\x00\x00\x00\x02\x00\x00", "too large"},
		{"empty exit", "x\x00\x00\x00\x00", "too large"},
		{"huge frame", "o\xff\xff\xff\xff", "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"pre-receive", "post-receive"} {
				said := refuses(t, name, "line\n", oddServer(t, []byte(c.answer))...)
				if !strings.Contains(said, c.says) {
					t.Errorf("no %q in\n%s", c.says, said)
				}
			}
		})
	}
	status, said := runHook(t, "pre-receive", strings.Repeat("line\n", 100_000),
		oddServer(t, []byte("o\x00\x00\x00\x03hi\nx\x00\x00\x00\x01\x07"))...)
	if status != 7 || said != "hi\n" {
		t.Errorf("status is %d, said %q", status, said)
	}
}

func TestTokenIsGoodForEachHookOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	s.git(s.work, "push", "-q", s.bare, "main:refs/heads/there") // without hooks: the object is in the repository
	input := zero + " " + head + " refs/heads/x\n"

	session := laptop.begin()
	noPush := 0
	unknown := func(name string, env ...string) { // the server has no push that waits for this hook
		t.Helper()
		refuses(t, name, input, env...)
		if noPush++; len(s.journal.About("hook without a push")) != noPush {
			t.Errorf("%s was answered", name)
		}
	}
	unknown("post-receive", session.Env()...)
	if status, said := runHook(t, "pre-receive", input, session.Env()...); status != 0 {
		t.Errorf("pre-receive: %d %s", status, said)
	}
	unknown("pre-receive", session.Env()...)
	if status, said := runHook(t, "post-receive", input, session.Env()...); status != 0 || said == "" {
		t.Errorf("post-receive: %d %s", status, said)
	}
	unknown("post-receive", session.Env()...)
	session.End(t.Context())

	ended := laptop.begin()
	ended.End(t.Context())
	unknown("pre-receive", ended.Env()...)

	other := laptop.begin()
	unknown("pre-receive", other.Env()[0], "REFSHIP_HOOK_TOKEN="+strings.Repeat("0", 64))
	if outcome := other.End(t.Context()); outcome.Reached {
		t.Errorf("outcome is %+v", outcome)
	}

	// post-receive of a push that was refused
	refusedPush := laptop.begin()
	if status, said := runHook(t, "pre-receive", "nonsense\n", refusedPush.Env()...); status != 1 {
		t.Errorf("pre-receive: %d %s", status, said)
	}
	unknown("post-receive", refusedPush.Env()...)
	if outcome := refusedPush.End(t.Context()); outcome.Refused == nil || !outcome.Reached {
		t.Errorf("outcome is %+v", outcome)
	}
	if len(s.dump()) != 0 {
		t.Errorf("etcd holds %v", s.dump())
	}
}

// Only a folder that git makes for a push to this very repository is taken for its quarantine.
func TestForeignQuarantineIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	head := s.commit("a.txt", "one\n")
	objects := filepath.Join(s.bare, "objects")
	own := filepath.Join(objects, "tmp_objdir-incoming-abcdef")
	outside := filepath.Join(s.work, ".git", "objects")
	for _, dir := range []string{own, filepath.Join(objects, "tmp_objdir-other")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(objects, "incoming-link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ quarantine, objects string }{
		{outside, outside},
		{own, outside},
		{"", outside},
		{link, link},
		{own + "/../../../work/.git/objects", own + "/../../../work/.git/objects"},
		{"objects/tmp_objdir-incoming-abcdef", "objects/tmp_objdir-incoming-abcdef"},
		{objects, objects},
		{filepath.Join(objects, "tmp_objdir-other"), filepath.Join(objects, "tmp_objdir-other")},
		{filepath.Join(objects, "incoming-absent"), filepath.Join(objects, "incoming-absent")},
	} {
		session := laptop.begin()
		env := append(session.Env(), "GIT_QUARANTINE_PATH="+c.quarantine, "GIT_OBJECT_DIRECTORY="+c.objects,
			"GIT_ALTERNATE_OBJECT_DIRECTORIES="+objects)
		status, said := runHook(t, "pre-receive", zero+" "+head+" refs/heads/main\n", env...)
		if refused := session.End(t.Context()).Refused; status != 1 || refused == nil ||
			!strings.Contains(refused.Error(), "quarantine") {
			t.Errorf("%q: status is %d, refused by %v\n%s", c, status, refused, said)
		}
	}
	if len(s.dump()) != 0 {
		t.Errorf("etcd holds %v", s.dump())
	}
}

// A hook that connects and sends nothing sensible keeps nobody busy and is told so.
func TestServerRefusesNonsense(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	session := s.user("laptop").begin()
	defer session.End(t.Context())
	socket := strings.TrimPrefix(session.Env()[0], "REFSHIP_HOOK_SOCKET=")
	for _, sent := range []string{"", "x\x00\x00\x00\x00", "v\xff\xff\xff\xff", "v\x00\x00\x00\x03abc",
		"e\x00\x00\x00\x01a", "i\x00\x00\x00\x01av\x00\x00\x00\x03a=b"} {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Error(err)
		}
		if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Error(err)
		}
		answer, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !bytes.HasPrefix(answer, []byte("o\x00")) ||
			!bytes.HasSuffix(answer, []byte("x\x00\x00\x00\x01\x01")) {
			t.Errorf("%q: answer is %q, %v", sent, answer, err)
		}
	}
}

func TestTooManyRefUpdates(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	for _, input := range []string{strings.Repeat("x\n", 10_001), strings.Repeat("x", 40<<20)} {
		session := s.user("laptop").begin()
		refuses(t, "pre-receive", input, session.Env()...)
		fixture.WantReason(t, fault.Refused, session.End(t.Context()).Refused, "")
	}
}

// A push with thousands of reasons against it hears some of them, and how many more there are.
func TestManyRefusalsAreToldInFewLines(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	session := s.user("laptop").begin()
	head := s.commit("a.txt", "one\n")
	var input strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&input, "%s %s refs/heads/main/%d\n", zero, head, i)
	}
	said := refuses(t, "pre-receive", input.String(), session.Env()...)
	if n := strings.Count(said, "\n"); n != 12 || strings.Count(said, "hint: ") != 1 ||
		!strings.Contains(said, "refs/heads/main/9 of") || !strings.Contains(said, "… and 8990 more") {
		t.Errorf("%d lines are\n%s", n, said)
	}
	if n := len(refusals(session.End(t.Context()).Refused)); n != 9000 {
		t.Errorf("%d refusals", n)
	}
}

func TestServerEndsWhenItsPushesAreDone(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	s.journal.When("checked", s.stop)
	laptop.push("main").published(t, 1)
	s.wait()
	if _, err := s.server.Begin(hooks.Push{}); err == nil {
		t.Error("a push begins after the end")
	}
}

func TestNewServerRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	check := func(cfg hooks.Config, names string) {
		t.Helper()
		_, err := hooks.NewServer(cfg)
		fixture.WantFault(t, fault.Refused, err, names, "")
		fixture.WantReason(t, fault.Refused, err, "")
	}
	check(s.config(), filepath.Join(s.dir, "run")) // another server is there
	long := s.config()
	long.Dir = filepath.Join(s.dir, strings.Repeat("d", 100))
	check(long, "107") // bytes are possible
	missing := s.config()
	missing.Dir, missing.HookBinary = filepath.Join(s.dir, "else"), filepath.Join(s.dir, "absent")
	check(missing, missing.HookBinary)
}

// A server that died leaves its socket; the next one takes over, with hooks of its own.
func TestServerAfterACrash(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.stop()
	s.wait()
	run := filepath.Join(s.dir, "run")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(run, "hook.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	pre := filepath.Join(run, "hooks", "pre-receive")
	if err := os.Remove(pre); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/elsewhere", pre); err != nil {
		t.Fatal(err)
	}
	s.start()
	want, err := os.ReadFile(hookBinary)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(pre); err != nil || info.Mode() != 0o700 {
		t.Errorf("pre-receive is %v, %v: want a program of its own", info, err)
	}
	if got, err := os.ReadFile(pre); err != nil || !bytes.Equal(got, want) {
		t.Errorf("pre-receive is not the hook program: %d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(run); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory is %v, %v", info, err)
	}
	s.commit("a.txt", "one\n")
	s.user("laptop").push("main").published(t, 1)
}

// A lock that nobody gives back in time refuses the push.
func TestLockedForTooLong(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	s.server.SetLockWait(50 * time.Millisecond)
	s.commit("a.txt", "one\n")
	lock, err := s.chain("/refship/config").Lock(t.Context(), record.Holder{User: "bob"}, time.Second,
		func(record.Holder, time.Duration) {})
	if err != nil {
		t.Fatal(err)
	}
	r := s.user("laptop").push("main")
	r.refused(t, fault.Conflict, "")
	// The words are judged here: in a script it would wait for 30 s. removed_key.txtar has whom it waits for.
	r.says(t, "locked by bob")
	if r.log["lock_wait_ms"] == int64(0) {
		t.Error("it did not wait")
	}
	if err := lock.Unlock(context.Background()); err != nil {
		t.Error(err)
	}
	if s.refs() != "" || len(s.dump()) != 0 {
		t.Errorf("refs are %s, etcd holds %v", s.refs(), s.dump())
	}
}
