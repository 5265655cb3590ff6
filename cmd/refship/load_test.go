package main

// What a user gains from these tests: a server that many use at once goes on answering everybody, within bounded
// memory, and keeps nothing of them when they have gone. They are about load, so the programs in them run without the
// race detector, and nothing in them asserts how fast.

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

var (
	loadRepositories = flag.Int("load.repositories", 60,
		"how many repositories TestLoadManyRepositories pushes to at once")
	loadPushers = flag.Int("load.pushers", 16, "how many pushers TestLoadOneRef has")
)

// idleConnections is how many connections do nothing while others push.
const idleConnections = 200

// What the server and all of its children may hold at the height of a load, in bytes: about twice what was measured.
const (
	maxMemoryOneRef     = 384 << 20
	maxMemoryIdle       = 192 << 20
	maxMemorySlow       = 256 << 20
	maxMemoryBefore     = 128 << 20
	maxMemoryRepository = 5 << 18 // beside that, for each repository that is pushed to
)

func (w *loadWorld) bounded(peak, bound int64) {
	w.Helper()
	if peak > bound {
		w.Errorf("server and children held %d MiB, want at most %d MiB", peak>>20, bound>>20)
	}
}

// crowdPusher is one of many who push to the same ref.
type crowdPusher struct {
	i     int
	clone string
	tip   string // its commit that is not deployed yet
}

// TestLoadOneRef: everybody has seen the same deploy and pushes a commit of their own at the same moment. One of them
// lands, the others are told who was faster and how to catch up; they do, until all have landed.
func TestLoadOneRef(t *testing.T) {
	t.Parallel()
	w := newLoadWorld(t)
	base := w.commit("base", 20)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(w.in("hooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	// git runs pre-push when it has seen the server's refs and sent nothing yet: there everybody waits for everybody.
	hook := "#!/bin/sh\ntest -z \"$GATE\" || read -r _ <\"$GATE\" || :\n"
	if err := os.WriteFile(w.in("hooks/pre-push"), []byte(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	var crowd []*crowdPusher
	for i := range *loadPushers {
		p := &crowdPusher{i: i, clone: w.in(fmt.Sprintf("clone-%d", i))}
		w.must("git", "clone", "-q", "--shared", w.in("work"), p.clone)
		w.must("git", "-C", p.clone, "config", "core.hooksPath", w.in("hooks"))
		p.tip = w.commitIn(p, base)
		if err := syscall.Mkfifo(p.clone+"/gate", 0o600); err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, p)
	}
	before := w.mustUse()
	stop := w.watchMemory(fmt.Sprintf("%d pushers on one ref", len(crowd)))
	landed := map[*crowdPusher]bool{}
	for _, p := range w.together(crowd) {
		landed[p] = true
	}
	if len(landed) != 1 {
		t.Errorf("%d pushes landed at once, want 1", len(landed))
	}
	start, tries := time.Now(), w.catchUp(crowd, landed)
	t.Logf("the other %d landed within %s, in %d pushes", len(crowd)-1, time.Since(start).Round(time.Millisecond),
		tries)
	w.bounded(stop(), maxMemoryOneRef)
	if log := w.must("refship", "log", "--json"); strings.Count(log, "\n")+1 != len(crowd)+1 {
		t.Errorf("want %d deploys, the log is\n%s", len(crowd)+1, log)
	}
	w.agree("in the end")
	w.settles(before)
}

// commitIn makes a pusher's commit on top of another.
func (w *loadWorld) commitIn(p *crowdPusher, parent string) string {
	w.Helper()
	name := fmt.Sprintf("pusher-%d", p.i)
	if err := os.WriteFile(filepath.Join(p.clone, name), []byte(name+" on "+parent+"\n"), 0o644); err != nil {
		w.Fatal(err)
	}
	w.must("git", "-C", p.clone, "reset", "-q", "--soft", parent)
	w.must("git", "-C", p.clone, "add", name)
	w.must("git", "-C", p.clone, "commit", "-q", "-m", name)
	return w.must("git", "-C", p.clone, "rev-parse", "HEAD")
}

// waitsInVain is below what a push waits for a lock: who is refused at that time was too late long before.
const waitsInVain = 25 * time.Second

// together lets all push at once, and gives whose push landed.
func (w *loadWorld) together(crowd []*crowdPusher) (landed []*crowdPusher) {
	w.Helper()
	results := make([]pushed, len(crowd))
	var start time.Time
	opened := make(chan struct{})
	var arrived, group errgroup.Group
	gates := make([]*os.File, len(crowd))
	for i, p := range crowd {
		arrived.Go(func() (err error) {
			gates[i], err = os.OpenFile(p.clone+"/gate", os.O_WRONLY, 0) // returns when the hook has opened it, too
			return err
		})
		group.Go(func() error {
			cmd := exec.CommandContext(w.Context(), "git", "-C", p.clone, "push", "--porcelain", w.world.url,
				p.tip+":refs/heads/main")
			cmd.Env = append(w.client(p.i), "GATE="+p.clone+"/gate")
			out, err := cmd.CombinedOutput()
			<-opened // a gate was: that start is written the race detector sees by this alone
			results[i] = pushed{string(out), err, time.Since(start)}
			return nil
		})
	}
	if err := arrived.Wait(); err != nil {
		w.Fatal(err)
	}
	start = time.Now()
	close(opened)
	for _, gate := range gates {
		_ = gate.Close() // nothing was written
	}
	_ = group.Wait() // always nil
	took := time.Since(start)
	told := map[string]int{}
	for i, r := range results {
		if r.took > waitsInVain {
			w.Errorf("pusher %d waited %s to be told:\n%s", i, r.took.Round(time.Millisecond), r.told)
		}
		switch {
		case r.err == nil:
			landed = append(landed, crowd[i])
		case strings.Contains(r.told, "remote: refship: refused: /refship/config is at deploy 2, ") &&
			strings.Contains(r.told, "by crowd") &&
			strings.Contains(r.told, "hint: git pull --rebase"):
			told["who is at the head and how to catch up"]++
		case strings.Contains(r.told, "[remote rejected]") && toldLost.MatchString(r.told):
			told["by git that the ref has moved"]++
		default:
			w.Errorf("pusher %d: %v\n%s", i, r.err, r.told)
		}
	}
	w.Logf("%d pushes at once: %d landed, others were told %v, all within %s", len(crowd), len(landed), told,
		took.Round(time.Millisecond))
	return landed
}

// catchUpAtATime is how many of those who were too late try again at the same time: more of them would make each other
// too late again and again.
const catchUpAtATime = 2

// catchUp has everybody fetch, rebase and push until they have landed, and gives the number of pushes that it took.
func (w *loadWorld) catchUp(crowd []*crowdPusher, landed map[*crowdPusher]bool) int {
	w.Helper()
	var group errgroup.Group
	group.SetLimit(catchUpAtATime)
	tries := make([]int, len(crowd))
	for i, p := range crowd {
		if landed[p] {
			continue
		}
		group.Go(func() error {
			for deadline := time.Now().Add(4 * patience); ; {
				tries[i]++
				told, err := w.rebaseAndPush(p)
				if err == nil {
					return nil
				}
				late := strings.Contains(told, "[rejected]") || strings.Contains(told, "[remote rejected]")
				if !late || time.Now().After(deadline) {
					return fmt.Errorf("pusher %d, try %d: %w\n%s", i, tries[i], err, told)
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		w.Error(err)
	}
	sum := 0
	for _, n := range tries {
		sum += n
	}
	return sum
}

func (w *loadWorld) rebaseAndPush(p *crowdPusher) (told string, err error) {
	for _, args := range [][]string{
		{"pull", "-q", "--rebase", w.world.url, "main"},
		{"push", "--porcelain", w.world.url, "HEAD:refs/heads/main"},
	} {
		cmd := exec.CommandContext(w.Context(), "git", append([]string{"-C", p.clone}, args...)...)
		cmd.Env = w.client(p.i)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return string(out), fmt.Errorf("git %s: %w", args[0], err)
		}
	}
	return "", nil
}

// TestLoadManyRepositories: as many `git push` processes as repositories, all started at once.
func TestLoadManyRepositories(t *testing.T) {
	w := newLoadWorld(t) // not parallel: it takes the whole machine
	commit := w.commit("for everybody", 30)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	names := w.repositories(*loadRepositories)
	before := w.mustUse()
	stop := w.watchMemory(fmt.Sprintf("%d repositories pushed at once", len(names)))
	start := time.Now()
	results := make([]pushed, len(names))
	var group errgroup.Group
	for i, name := range names {
		group.Go(func() error {
			url := strings.TrimSuffix(w.world.url, "config") + name
			results[i] = w.pushTo(w.Context(), i, w.in("work"), url, "main")
			return nil
		})
	}
	_ = group.Wait() // always nil
	took := time.Since(start)
	peak := stop()
	var each []time.Duration
	for i, r := range results {
		each = append(each, r.took)
		if r.err != nil || !strings.Contains(r.told, "remote: refship: deploy 1 published in") {
			t.Errorf("%s: %v\n%s", names[i], r.err, r.told)
		}
	}
	t.Logf("%d pushes in %s: median %s, last %s", len(names), took.Round(time.Millisecond), quantile(each, 0.5),
		quantile(each, 1))
	w.bounded(peak, maxMemoryBefore+int64(len(names))*maxMemoryRepository)
	for _, i := range rand.Perm(len(names))[:min(10, len(names))] {
		if head := w.head(names[i]); head != commit {
			t.Errorf("%s: the chain is at %q, want %s", names[i], head, commit)
		}
	}
	w.settles(before)
}

// TestLoadIdleConnections: many have connected and do nothing: some have authenticated, some are in the middle of it,
// some have sent nothing at all. Others push all the same, and when those that have authenticated ask for something at
// last, they get it.
func TestLoadIdleConnections(t *testing.T) {
	t.Parallel()
	w := newLoadWorld(t)
	w.commit("first", 3)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	before := w.mustUse()
	stop := w.watchMemory(fmt.Sprintf("%d idle connections", 2*idleConnections))
	const pushes = 10
	alone := w.pushTimes(pushes)
	idle := w.idle(idleConnections)
	closeUnfinished := w.unfinished(idleConnections / 2)
	beside := w.pushTimes(pushes)
	if n := w.connections(); n < 2*idleConnections {
		t.Errorf("%d connections are left of %d", n, 2*idleConnections)
	}
	t.Logf("a push takes %s alone, %s beside %d idle connections (medians of %d)", quantile(alone, 0.5),
		quantile(beside, 0.5), 2*idleConnections, pushes)
	for i, c := range idle {
		if err := useIdle(c); err != nil {
			t.Fatalf("idle connection %d: %v", i, err)
		}
		_ = c.Close()
	}
	w.bounded(stop(), maxMemoryIdle)
	closeUnfinished()
	w.settles(before)
}

// idle opens connections that authenticate and do nothing.
func (w *loadWorld) idle(n int) []*ssh.Client {
	w.Helper()
	key, err := ssh.ParsePrivateKey([]byte(readFile(w.TB, w.in("crowd"))))
	if err != nil {
		w.Fatal(err)
	}
	clients := make([]*ssh.Client, n)
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() (err error) {
			clients[i], err = w.dialSSH(i, ssh.PublicKeys(key))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		for _, c := range clients {
			_ = c.Close() // most are
		}
	})
	return clients
}

// unfinished opens n connections that send nothing, and n that stop in the middle of authenticating, until they are
// closed.
func (w *loadWorld) unfinished(n int) (closeAll func()) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	reached := make(chan error)
	stop := ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		reached <- nil
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var silent []net.Conn
	var stopped sync.WaitGroup
	for i := range n {
		stopped.Go(func() {
			_, err := w.dialSSH(idleConnections+i, stop)
			select {
			case reached <- err: // too early
			case <-ctx.Done():
			}
		})
		if err := <-reached; err != nil {
			w.Fatal(err)
		}
		conn, err := w.dial(idleConnections + n + i)
		if err != nil {
			w.Fatal(err)
		}
		silent = append(silent, conn)
	}
	closeAll = func() {
		cancel()
		stopped.Wait()
		for _, conn := range silent {
			_ = conn.Close()
		}
	}
	w.Cleanup(closeAll)
	return closeAll
}

// useIdle runs a command on a connection that was idle.
func useIdle(c *ssh.Client) error {
	session, err := c.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	out, err := session.CombinedOutput("repos")
	if err == nil && !strings.Contains(string(out), "config") {
		err = fmt.Errorf("ssh HOST repos says %q", out)
	}
	return err
}

// pushTimes pushes one small commit after another and gives how long each push took.
func (w *loadWorld) pushTimes(n int) (times []time.Duration) {
	w.Helper()
	for range n {
		w.commit("small", 1)
		start := time.Now()
		if err := w.push(); err != nil {
			w.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	return times
}
