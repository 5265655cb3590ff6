package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a user gains: also where nothing can catch a crash, systemd starts the server again; with status 2 it would not.
func TestCrashIsASignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve("")
	if err := w.server.cmd.Process.Signal(unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	<-w.server.ended
	if state := w.server.cmd.ProcessState; state.Exited() {
		t.Errorf("after a crash the server has ended with %s", state)
	}
}

// What a user gains: where the embedded etcd cannot go on, each call that waits for it fails at once, and the server
// ends with its reason, for systemd to start it again.
func TestEmbeddedEtcdFails(t *testing.T) {
	t.Parallel()
	// A server that hangs is ended after brokenTime. A busy machine may be slow, but not always.
	for range 3 {
		if failEtcd(t) < brokenTime {
			return
		}
	}
	t.Errorf("each time the end took more than %s", brokenTime)
}

// failEtcd makes a server's etcd fail, and gives how long that took to end the server.
func failEtcd(t *testing.T) (took time.Duration) {
	w := newWorld(t)
	w.serve("")
	w.commit("first", 1)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	// git packs this into little, and etcd has to store all of it.
	if err := os.WriteFile(w.in("work/zeros"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w.commit("second", 1)
	// From now on no file of the server, and of the git that it starts, can become larger, or be written beyond that.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 128 << 10
	if err := unix.Prlimit(w.server.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err := w.push()
	const told = "etcd unreachable: the server's etcd cannot go on, and the server ends"
	if err == nil || !strings.Contains(err.Error(), told) || !strings.Contains(err.Error(), "hint: its log says why; ") {
		t.Errorf("the push was told: %v", err)
	}
	// etcd writes its log in two places, entries and snapshots: either may be the first to fail.
	(&smallDisk{world: w}).ends("etcd unreachable: run etcd: failed to save ")
	took = time.Since(began)
	said := w.server.text()
	if strings.Count(said, "refship: error: ") != 1 ||
		!strings.Contains(said, "file too large\nrefship: hint: look at the disk of ") {
		t.Errorf("the server said:\n%s", said)
	}
	w.serve("")
	if err := w.push(); err != nil {
		t.Error(err)
	}
	w.agree("the end")
	w.stop()
	return took
}
