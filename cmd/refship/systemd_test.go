package main

// What a user gains from these tests: the unit in contrib/systemd is one that systemd takes without a complaint, keeps
// the service from what it does not need, lets it do what it does need, and knows when it is ready.

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"refship/deploy/fixture"
)

const unitDir = "../../contrib/systemd"

// analyze runs systemd-analyze, whose output belongs to no terminal and no manager.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-analyze", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER="}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The units, each with the command that it runs.
const (
	serverUnit, serverRuns = "refship.service", "serve"
	agentUnit, agentRuns   = "refship-agent@.service", "agent run"
)

// unitFor is a unit, for a program that is where systemd-analyze can see it.
func unitFor(t *testing.T, name, runs string) string {
	t.Helper()
	program, err := exec.LookPath("refship")
	if err != nil {
		t.Fatal(err)
	}
	text := readFile(t, filepath.Join(unitDir, name))
	installed := "ExecStart=/usr/local/bin/refship " + runs + "\n"
	if !strings.Contains(text, installed) {
		t.Fatalf("the unit has no line %q", installed)
	}
	path := filepath.Join(t.TempDir(), name)
	text = strings.Replace(text, installed, "ExecStart="+program+" "+runs+"\n", 1)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnit(t *testing.T) {
	t.Parallel()
	fixture.Need(t, "systemd-analyze")
	for name, runs := range map[string]string{serverUnit: serverRuns, agentUnit: agentRuns} {
		t.Run(name, func(t *testing.T) { checkUnit(t, unitFor(t, name, runs)) })
	}
}

func checkUnit(t *testing.T, unit string) {
	out, err := analyze(t, "verify", unit)
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for line := range strings.Lines(out) { // also about units of this machine
		if strings.Contains(line, "refship") {
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	// 10 is exposed to everything.
	if out, err := analyze(t, "security", "--offline=true", "--threshold=20", unit); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	// That verify sees mistakes at all.
	text := strings.Replace(readFile(t, unit), "NoNewPrivileges=", "NoPrivileges=", 1)
	if err := os.WriteFile(unit, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, _ := analyze(t, "verify", unit); !strings.Contains(out, "NoPrivileges") {
		t.Errorf("systemd-analyze verify says nothing of a setting that does not exist: %s", out)
	}
}

// The unit lets no system call through that its filter does not name; a push, and the git that runs for it, need none.
func TestUnitAllowsWhatAPushCalls(t *testing.T) {
	t.Parallel()
	fixture.Need(t, "systemd-analyze")
	fixture.Need(t, "strace")
	w := newWorld(t)
	trace := w.in("trace")
	w.serveUnder([]string{"strace", "-f", "-qq", "-o", trace})
	w.commit("first", 30)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	w.must("git", "clone", "-q", w.url, w.in("clone"))
	w.endTraced()
	allowsTraced(t, unitFor(t, serverUnit, serverRuns), trace, "execve", "fsync", "accept4")
}

// The same for a node that switches, and runs commands.
func TestUnitAllowsWhatASwitchCalls(t *testing.T) {
	t.Parallel()
	fixture.Need(t, "systemd-analyze")
	fixture.Need(t, "strace")
	n := newNode(t)
	n.settle("the first", n.deploy("the first"))
	trace, commit := n.in("trace"), n.deploy("the second")
	args := append([]string{"-f", "-qq", "-o", trace}, n.agent("").Args...)
	n.must("strace", append(args, "--exechook-command", "cat dir-0/*", "--touch-file", n.in("touched"))...)
	n.settle("traced", commit)
	allowsTraced(t, unitFor(t, agentUnit, agentRuns), trace, "execve", "syncfs", "renameat", "symlinkat")
}

// allowsTraced checks that a unit lets all system calls of a trace through, and that the trace has some.
func allowsTraced(t *testing.T, unit, trace string, some ...string) {
	t.Helper()
	allowed := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^SystemCallFilter=(~?)(.+)$`).FindAllStringSubmatch(
		readFile(t, unit), -1) {
		for call := range systemCalls(t, strings.Fields(match[2])) {
			allowed[call] = match[1] == ""
		}
	}
	if len(allowed) < 100 || allowed["reboot"] {
		t.Fatalf("the filter is not understood: %v", allowed)
	}
	used := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`).FindAllStringSubmatch(readFile(t, trace), -1) {
		used[match[1]] = true
	}
	for _, call := range some {
		if !used[call] {
			t.Errorf("the trace has no %s: is it one?", call)
		}
	}
	for call := range used {
		if !allowed[call] {
			t.Errorf("the unit does not allow the system call %s", call)
		}
	}
}

// systemCalls expands names and @groups of a SystemCallFilter=.
func systemCalls(t *testing.T, names []string) map[string]bool {
	t.Helper()
	calls := map[string]bool{}
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if !strings.HasPrefix(name, "@") {
			calls[name] = true
			continue
		}
		out, err := analyze(t, "syscall-filter", name)
		if err != nil {
			t.Fatalf("systemd-analyze syscall-filter %s: %v\n%s", name, err, out)
		}
		for line := range strings.Lines(out) { // the group's name, then its members, indented, and comments
			if member := strings.TrimSpace(line); strings.HasPrefix(line, " ") && !strings.HasPrefix(member, "#") {
				names = append(names, member)
			}
		}
	}
	return calls
}

// Type=notify: systemd learns that the server is ready when its port is open, and that it stops.
func TestNotify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.in("notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	heard := func() string {
		t.Helper()
		buffer := make([]byte, 4096)
		n, err := socket.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
	w.serveUnder([]string{"env", "NOTIFY_SOCKET=" + w.in("notify")})
	ready := heard()
	if !regexp.MustCompile(`^READY=1\nSTATUS=listening on ssh://127\.0\.0\.1:\d+, host key SHA256:\S+$`).MatchString(
		ready) {
		t.Errorf("at the start systemd hears %q", ready)
	}
	w.commit("first", 1)
	if err := w.push(); err != nil {
		t.Error(err)
	}
	w.stop()
	if stopping := heard(); stopping != "STOPPING=1" {
		t.Errorf("at the end systemd hears %q", stopping)
	}
}

// endTraced ends a server that runs under strace, which does not pass signals on.
func (w *world) endTraced() {
	w.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(w, w.in("data/lock"))))
	if err != nil {
		w.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		w.Fatal(err)
	}
	<-w.server.ended
}
