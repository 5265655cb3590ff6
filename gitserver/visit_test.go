package gitserver

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"refship/deploy/fault"
	"refship/gitserver/admit"
)

// TestPool: a client that has to wait hears so, and then gets a turn; one that leaves, or finds the server shutting
// down, gets none.
func TestPool(t *testing.T) {
	e := start(t, func(s *Server) { s.pushes = admit.NewPool("push", "pushes", pushMemory) })
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	reached, release := e.halt("uploaded")
	first := make(chan result)
	go func() { first <- e.git(laptop, work, "push", e.url("config"), "main") }()
	<-reached

	second, told := make(chan result), make(chan struct{})
	cmd := e.gitCommand(laptop, work, "push", e.url("config"), "main:refs/heads/other")
	go func() { second <- e.runTelling(cmd, "refship: waiting: ", told) }()
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
	third, waits := make(chan result), make(chan struct{})
	deploys := e.sshCommand(gone, "git@127.0.0.1", "deploy", "config")
	go func() { third <- e.runTelling(deploys, "refship: waiting: ", waits) }()
	<-waits
	if _, err := e.keys.Remove("gone", ""); err != nil {
		t.Fatal(err)
	}
	release()
	e.deployed(<-first, 1)
	(<-second).want(t, 0, "main -> other")
	e.fails(<-third, 4, fault.Refused) // what it waited for is not its own any more

	reached, release = e.halt("uploaded")
	e.commit(work, "file", "two\n")
	go func() { first <- e.git(laptop, work, "push", e.url("config"), "main") }()
	<-reached
	go func() { second <- e.ssh(laptop, "git@127.0.0.1", "deploy", "config") }()
	until(t, "two sessions", func() bool { return e.srv.Stats().Sessions == 2 })
	e.cancel()
	if (<-second).want(t, 1, "refship: error: "); !errors.Is(e.failure(), errShuttingDown) {
		t.Errorf("the command ended with %v", e.failure())
	}
	release()
	e.deployed(<-first, 2)
}

// TestPoolIsNotForFewKeys: sessions of two keys that do nothing, as many as they can get, keep others from nothing.
func TestPoolIsNotForFewKeys(t *testing.T) {
	const size = 8
	e := start(t, func(s *Server) { s.pushes = admit.NewPool("push", "pushes", size*pushMemory) })
	e.repo("config")
	ops, work := e.user("ops", "deploy:config"), e.work()
	var waiting []*watcher
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
			w := &watcher{text: "refship: waiting: ", told: make(chan struct{})}
			s.Stderr = w
			waiting = append(waiting, w)
			if err := s.Start("git-receive-pack '/config'"); err != nil {
				t.Fatal(err)
			}
		}
	}
	const part = size/2 + size/4
	until(t, "all who wait", func() bool {
		n := 0
		for _, w := range waiting {
			select {
			case <-w.told:
				n++
			default:
			}
		}
		return n == 2*size-part
	})
	e.deployed(e.git(ops, work, "push", e.url("config"), "main"), 1)

	// One more of a key that has its part hears what it waits for.
	told := make(chan struct{})
	cmd := e.sshCommand(&user{path: filepath.Join(e.dir, "id_idle")}, "git@127.0.0.1", "deploy", "config")
	ended := make(chan result)
	go func() { ended <- e.runTelling(cmd, "refship: waiting: ", told) }()
	<-told
	e.cancel()
	(<-ended).want(t, 1, "refship: error: ")
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
