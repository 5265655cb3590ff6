package gitserver

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// isGranted tells whether the command that asked for a turn may run.
func (t *turn) isGranted() bool {
	select {
	case <-t.granted:
		return true
	default:
		return false
	}
}

func (p *pool) waiters() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// TestPoolParts: what each key gets that wants all, one after the other.
func TestPoolParts(t *testing.T) {
	for _, c := range []struct {
		size int
		want []int
	}{
		{128, []int{64, 32, 16, 8, 4, 2, 1, 1, 0}},
		{8, []int{4, 2, 1, 1, 0}},
		{5, []int{3, 1, 1, 0}},
		{2, []int{1, 1, 0}},
		{1, []int{1, 0}},
	} {
		p := newPool("push", "pushes", c.size)
		var all []*turn
		for k, want := range c.want {
			got := 0
			for range c.size {
				asked := p.request(fmt.Sprint(k))
				if all = append(all, asked); asked.isGranted() {
					got++
				}
			}
			if got != want {
				t.Errorf("of %d: key %d got %d, want %d", c.size, k, got, want)
			}
		}
		for _, one := range all {
			p.giveBack(one)
		}
		empty(t, p)
	}
}

func empty(t interface{ Errorf(string, ...any) }, p *pool) {
	if p.used != 0 || len(p.held) != 0 || len(p.waiting) != 0 {
		t.Errorf("left: %d turns, %v, %d waiting", p.used, p.held, len(p.waiting))
	}
}

// poolModel is the rule as its words say it: who asked, in this order, and who of them has a turn.
type poolModel struct {
	size  int
	asked []*turn
	given map[*turn]bool
}

func (m *poolModel) may(key string) bool {
	mine := 0
	for t := range m.given {
		if t.key == key {
			mine++
		}
	}
	return mine < m.size-len(m.given)
}

// settle gives the first who may go a turn, and looks again from the beginning.
func (m *poolModel) settle() {
	for {
		i := slices.IndexFunc(m.asked, func(t *turn) bool { return !m.given[t] && m.may(t.key) })
		if i < 0 {
			return
		}
		m.given[m.asked[i]] = true
	}
}

// TestPoolRule: whatever happens in whatever order, turns are with those who should have them: never more than there
// are, never over half with one key, nobody waits who may go, the first of those that may goes first.
func TestPoolRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 12).Draw(t, "size")
		p := newPool("push", "pushes", size)
		m := &poolModel{size: size, given: map[*turn]bool{}}
		end := func(i int) {
			one := m.asked[i]
			p.giveBack(one)
			m.asked = slices.Delete(m.asked, i, i+1)
			delete(m.given, one)
		}
		check := func() {
			m.settle()
			keys := map[string]int{}
			waiting := 0
			for i, one := range m.asked {
				if one.isGranted() != m.given[one] {
					t.Fatalf("number %d, of %s: has a turn: %t, should: %t", i, one.key, one.isGranted(), m.given[one])
				}
				switch {
				case one.isGranted():
					keys[one.key]++
				case m.may(one.key):
					t.Fatalf("number %d, of %s, waits and may go", i, one.key)
				default:
					waiting++
				}
			}
			for key, n := range keys {
				if n > (size+1)/2 {
					t.Fatalf("%s has %d of %d", key, n, size)
				}
			}
			if len(m.given) > size || p.used != len(m.given) || len(p.waiting) != waiting || len(p.held) != len(keys) {
				t.Fatalf("%d of %d turns are given; the pool has %d, %v, %d waiting", len(m.given), size, p.used,
					p.held, len(p.waiting))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				m.asked = append(m.asked,
					p.request(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key")))
			},
			"give back": func(t *rapid.T) {
				if len(m.asked) == 0 {
					t.Skip("nobody has asked")
				}
				end(rapid.IntRange(0, len(m.asked)-1).Draw(t, "which"))
			},
			"": func(*rapid.T) { check() },
		})
		for len(m.asked) > 0 {
			end(rapid.IntRange(0, len(m.asked)-1).Draw(t, "last"))
			check()
		}
		empty(t, p)
	})
}

// TestPoolAtOnce: everybody who waits gets a turn in the end, and some leave before.
func TestPoolAtOnce(t *testing.T) {
	const size, keys, each = 8, 6, 300
	p := newPool("push", "pushes", size)
	var running atomic.Int64
	var all sync.WaitGroup
	for k := range keys {
		for range each {
			all.Go(func() {
				one := p.request(fmt.Sprint(k))
				if rand.IntN(4) == 0 {
					p.giveBack(one) // given or not
					return
				}
				<-one.granted
				if n := running.Add(1); n > size {
					t.Errorf("%d run at a time", n)
				}
				running.Add(-1)
				p.giveBack(one)
			})
		}
	}
	all.Wait()
	empty(t, p)
}

func TestPoolSaysWhy(t *testing.T) {
	p := newPool("fetch", "fetches", 2)
	p.request("a")
	if got, want := p.waitsFor("a"), "your key runs 1 of at most 2 fetches, and what is free is kept for other keys"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	p.request("b")
	if got, want := p.waitsFor("a"), "the server runs 2 fetches, as many as it does at a time"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
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
	cmd := exec.Command("ssh", append(e.sshArgs(filepath.Join(e.dir, "id_idle")), "git@127.0.0.1", "deploy",
		"config")...)
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
