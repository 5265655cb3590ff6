package gitserver

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestIdleConnections: 600 connections that do nothing, a third of them authenticated, a third in the middle of it, a third
// silent, cost little and keep nobody from working.
func TestIdleConnections(t *testing.T) {
	const each = 200
	e := start(t, func(s *Server) {
		s.cfg.Limits.ConnectionsPerAddress = 4 * each
		s.askAfter = 2 * time.Second
	})
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
	goroutines, memory := footprint()

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, e.addr, laptop.path, strconv.Itoa(each))
	cmd.Env = append(os.Environ(), programVar+"=idle")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := io.ReadAll(io.LimitReader(stdout, int64(len("ready\n")))); string(line) != "ready\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	until(t, "the connections", func() bool { return e.srv.Stats().Connections == 3*each })
	more, taken := footprint()
	t.Logf("per connection: %.1f goroutines, %d KiB", float64(more-goroutines)/(3*each), (taken-memory)/(3*each)>>10)
	if n := more - goroutines; n > 3*each*8 {
		t.Errorf("%d goroutines for %d connections", n, 3*each)
	}
	if n := taken - memory; n > 3*each*200<<10 {
		t.Errorf("%d bytes for %d connections", n, 3*each)
	}

	for i := range 5 {
		e.commit(work, "file", fmt.Sprintf("change %d\n", i))
		e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
		e.mustGit(laptop, work, "ls-remote", e.url("config"))
	}
	if d, want := e.head("config"), e.mustGit(nil, work, "rev-parse", "HEAD"); d == nil || d.ID != 6 || string(d.Hash) != want {
		t.Errorf("head is %+v, want %s", d, want)
	}
	if n := e.srv.Stats().Connections; n < 3*each {
		t.Errorf("%d connections are left of %d", n, 3*each)
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	until(t, "the connections' end", func() bool { return e.srv.Stats().Connections == 0 })
}

// footprint is what the server has: goroutines, and bytes of heap and stacks in use.
func footprint() (goroutines, memory int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int(m.HeapInuse + m.StackInuse)
}

// TestPool: who has to wait hears so, and then gets a turn; who leaves, or finds the server shutting down, does not.
func TestPool(t *testing.T) {
	e := start(t, func(s *Server) { s.pushes = newPool("push", "pushes", 1) })
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	reached, release := e.halt("uploaded")
	first := make(chan result)
	go func() { first <- e.git(laptop, work, "push", e.url("config"), "main") }()
	<-reached

	second, told := make(chan result), make(chan struct{})
	cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main:refs/heads/other")
	go func() {
		second <- e.runTelling(cmd, "waiting: the server runs 1 push, as many as it does at a time", told)
	}()
	<-told
	e.git(laptop, work, "ls-remote", e.url("config")).want(t, 0) // reading does not wait

	c := e.dial(laptop)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("git-receive-pack '/config'"); err != nil {
		t.Fatal(err)
	}
	until(t, "three sessions", func() bool { return e.srv.Stats().Sessions == 3 })
	s.Close()
	until(t, "two sessions", func() bool { return e.srv.Stats().Sessions == 2 })

	gone := e.user("gone", "deploy:config")
	third := make(chan result)
	go func() { third <- e.ssh(gone, "git@127.0.0.1", "deploy", "config") }()
	until(t, "two who wait", func() bool { return e.srv.pushes.waiters() == 2 })
	if _, err := e.keys.Remove("gone"); err != nil {
		t.Fatal(err)
	}
	release()
	(<-first).want(t, 0, "deploy 1 published")
	(<-second).want(t, 0, "main -> other")
	(<-third).want(t, 4, "is not known here any more") // what it waited for is not its own any more

	reached, release = e.halt("uploaded")
	e.commit(work, "file", "two\n")
	go func() { first <- e.git(laptop, work, "push", e.url("config"), "main") }()
	<-reached
	go func() { second <- e.ssh(laptop, "git@127.0.0.1", "deploy", "config") }()
	until(t, "two sessions", func() bool { return e.srv.Stats().Sessions == 2 })
	e.cancel()
	(<-second).want(t, 1, "refship: error: the server is shutting down, try again later")
	release()
	(<-first).want(t, 0, "deploy 2 published")
}

// TestPoolIsNotForFewKeys: sessions of two keys that do nothing, as many as they can get, keep others from nothing.
func TestPoolIsNotForFewKeys(t *testing.T) {
	const size = 8
	e := start(t, func(s *Server) { s.pushes = newPool("push", "pushes", size) })
	e.repo("config")
	ops, work := e.user("ops", "deploy:config"), e.work()
	for _, name := range []string{"idle", "lazy"} {
		c := e.dial(e.user(name, "deploy:config"))
		for range size {
			s, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.StdinPipe(); err != nil { // which stays open
				t.Fatal(err)
			}
			if err := s.Start("git-receive-pack '/config'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	const part = size/2 + size/4
	until(t, "all who wait", func() bool { return e.srv.pushes.waiters() == 2*size-part })
	e.git(ops, work, "push", e.url("config"), "main").want(t, 0, "deploy 1 published")

	// One more of a key that has its part hears what it waits for.
	told := make(chan struct{})
	cmd := exec.Command("ssh", append(e.sshArgs(filepath.Join(e.dir, "id_idle")), "git@127.0.0.1", "deploy", "config")...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.dir}
	ended := make(chan result)
	go func() {
		ended <- e.runTelling(cmd, "refship: waiting: your key runs 4 of at most 8 pushes, and what is free is kept for other keys\n", told)
	}()
	<-told
	e.cancel()
	(<-ended).want(t, 1, "refship: error: the server is shutting down")
}

// runTelling is run that closes told when standard error has text.
func (e *env) runTelling(cmd *exec.Cmd, text string, told chan struct{}) result {
	e.t.Helper()
	w := &watcher{text: text, told: told}
	cmd.Stderr = w
	_ = cmd.Run() // the status is in the result
	return result{stderr: w.said.String(), status: cmd.ProcessState.ExitCode()}
}

// watcher closes told at the first sight of a text.
type watcher struct {
	said strings.Builder // not embedded: io.Copy would write past Write
	text string
	told chan struct{}
	once sync.Once
}

func (w *watcher) Write(p []byte) (int, error) {
	w.said.Write(p)
	if strings.Contains(w.said.String(), w.text) {
		w.once.Do(func() { close(w.told) })
	}
	return len(p), nil
}

// TestGitMemory: what a large file costs git's processes is bounded, and is less than the file.
func TestGitMemory(t *testing.T) {
	const size, most = 200 << 20, 120 << 20
	said := measuredGit(t)
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.randomFile(work, "large", size)
	small := []string{"-c", "core.compression=0", "-c", "core.bigFileThreshold=16m"}
	e.mustGit(laptop, work, append(small, "push", "-q", e.url("config"), "main:refs/heads/other")...) // which is not deployed
	clone := filepath.Join(e.dir, "clone")
	e.mustGit(laptop, e.dir, append(small, "clone", "-q", "--bare", e.url("config"), clone)...)
	if got, want := e.mustGit(nil, clone, "rev-parse", "other"), e.mustGit(nil, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("clone has %s, want %s", got, want)
	}
	e.stop()
	checked := 0
	for line := range strings.Lines(said()) {
		text, args, _ := strings.Cut(line, " ")
		bytes, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range []string{"receive-pack", "upload-pack"} {
			if strings.Contains(args, " "+what+" ") {
				checked++
				t.Logf("%s took %d MiB for a file of %d MiB", what, bytes>>20, size>>20)
				if bytes > most {
					t.Errorf("%s took %d bytes, the most is %d", what, bytes, most)
				}
			}
		}
	}
	if checked != 2 {
		t.Errorf("%d processes measured: %s", checked, said())
	}
}

// TestUnpackingBomb: few bytes that unpack to many end their git, which says so, and nothing else.
func TestUnpackingBomb(t *testing.T) {
	e := start(t, func(s *Server) { s.gitMemory = 64 << 20 })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	c := e.dial(laptop)
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	const commit, size = 1, 96 << 20
	var pack bytes.Buffer
	pack.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x01")
	pack.WriteByte(0x80 | commit<<4 | size&15) // gitformat-pack(5): type and size
	for rest := size >> 4; ; rest >>= 7 {
		if rest < 0x80 {
			pack.WriteByte(byte(rest))
			break
		}
		pack.WriteByte(byte(rest) | 0x80)
	}
	z, err := zlib.NewWriterLevel(&pack, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	for range size >> 20 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(pack.Bytes())
	pack.Write(sum[:])
	if pack.Len() > 1<<20 {
		t.Fatalf("the pack has %d bytes", pack.Len())
	}
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/main\x00report-status"
	s.Stdin = strings.NewReader(pktLine(line) + "0000" + pack.String())
	e.execIn(s, "git-receive-pack '/config'").want(t, 1, "Out of memory", "refship: error: nothing was stored")
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if left := leftovers(t, repo); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	e.git(laptop, e.work(), "push", e.url("config"), "main").want(t, 0, "deploy 1 published") // within the same bounds
}
