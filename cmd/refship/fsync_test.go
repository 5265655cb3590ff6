package main

// What a user gains from this test: what `git push` has acknowledged is on disk, in git and in etcd, in an order in
// which no power cut leaves etcd with a deploy that git has not.

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"refship/deploy/fixture"
)

func TestAcknowledgedIsOnDisk(t *testing.T) {
	t.Parallel()
	fixture.Need(t, "strace")
	w := newWorld(t)
	trace := w.in("trace")
	w.serveUnder([]string{"strace", "-f", "-y", "--seccomp-bpf", "-e",
		"trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat", "-o", trace})
	commit := w.commit("first", 30)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	if head := w.agree("after the push"); head != commit {
		t.Fatalf("deployed is %s, want %s", head, commit)
	}
	// strace does not pass signals on: its child is ended, and ends it.
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(t, w.in("data/lock"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-w.server.ended
	text := readFile(t, trace)
	// One line per system call, in their order; -y writes a descriptor with its path: fsync(7</path>) = 0.
	lines := strings.Split(text, "\n")
	at := 0
	for _, step := range []struct{ what, call string }{
		{"the pack", `fsync\(\d+<[^>]*/objects/[^>]*pack[^>]*>`},
		{"the intent", `fsync\(\d+<[^>]*/refship/pending/[^>]*\.refship-tmp>`},
		{"the intent's place", `rename.*\.refship-tmp.*/refship/pending/[0-9a-f]*\.json`},
		{"the intent's directory", `fsync\(\d+<[^>]*/refship/pending>`},
		{"the ref", `fsync\(\d+<[^>]*/refs/heads/main\.lock>`},
		{"the ref's place", `rename.*refs/heads/main\.lock.*refs/heads/main"`},
		{"etcd's log", `fdatasync\(\d+<[^>]*/wal/[^>]*\.wal>`},
	} {
		pattern := regexp.MustCompile(step.call)
		for at < len(lines) && !pattern.MatchString(lines[at]) {
			at++
		}
		if at == len(lines) {
			t.Fatalf("no %s for %s after what comes before it; the calls:\n%s", step.call, step.what, text)
		}
		at++
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
