package gitserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/gitserver/admit"
	"refship/gitserver/incoming"
	"refship/gitserver/repos"
)

// TestGitMemory: what a large file costs git's processes is bounded, and is a fraction of the file.
func TestGitMemory(t *testing.T) {
	const size, most = 200 << 20, 32 << 20
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.randomFile(work, "large", size)
	small := []string{"-c", "core.compression=0", "-c", "core.bigFileThreshold=16m"}
	clone := filepath.Join(e.dir, "clone")
	for _, args := range [][]string{
		{"push", "-q", e.url("config"), "main:refs/heads/other"}, // which is not deployed
		{"clone", "-q", "--bare", e.url("config"), clone},
	} {
		stop := watchGit(t, "receive-pack", "index-pack", "rev-list", "upload-pack")
		e.mustGit(laptop, work, append(small, args...)...)
		peak := stop()
		t.Logf("%s: %d MiB for a file of %d MiB", args[0], peak>>20, size>>20)
		if peak > most || peak == 0 {
			t.Errorf("%s took %d bytes, the most is %d", args[0], peak, most)
		}
	}
	if got, want := e.mustGit(nil, clone, "rev-parse", "other"),
		e.mustGit(nil, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("clone has %s, want %s", got, want)
	}
}

// TestUnpackingBomb: few bytes that unpack to many are refused before git sees them, where they would take more memory
// than git may have; so are objects that git puts together whatever they are.
func TestUnpackingBomb(t *testing.T) {
	e := start(t, func(s *Server) { s.shareMemory(MinGitMemory) })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	var huge fixture.Pack
	huge.Commit(string(make([]byte, 96<<20)))
	bomb, commit := fixture.DeltaBomb(1800)
	if len(bomb) > 4<<10 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	for _, c := range []struct {
		pack  []byte
		needs int64
	}{{bomb, 1800 << 20}, {huge.Bytes(), 96 << 20}} {
		r := e.push(laptop, "config", fixture.PushOf(c.pack, commit, "refs/heads/main"))
		e.tooLarge(r)
		line := e.last("pack needs too much memory")
		if needs, ok := line["needs"].(int64); !ok || needs < c.needs || needs > c.needs+unpackMemory+1<<20 ||
			line["limit"] != int64(runMemory) || line["remedy"] != string(ReasonGitMemory) {
			t.Errorf("log line is %v", line)
		}
	}
	e.nothingMoved(t, repo)
	e.deployed(e.git(laptop, e.work(), "push", e.url("config"), "main"), 1) // within the same bounds
}

// tooLarge wants a push that is told as too large and as nothing else, and what to do.
func (e *env) tooLarge(r result) {
	e.t.Helper()
	r.want(e.t, int(fault.Refused), string(ReasonGitMemory))
	if !fault.Is(e.failure(), fault.Refused) || strings.Contains(r.stderr, "fsck") {
		e.t.Errorf("failed with %v; told as corrupt: %s", e.failure(), r.stderr)
	}
}

// TestMemoryLimit: a git that wants more than was expected ends at its limit, and that is told as what it is.
func TestMemoryLimit(t *testing.T) {
	e := start(t, func(s *Server) { s.packNeeds = func(incoming.Pack) int64 { return runMemory } })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	bomb, commit := fixture.DeltaBomb(256)
	e.tooLarge(e.push(laptop, "config", fixture.PushOf(bomb, commit, "refs/heads/main")))
	if line := e.last("git ran out of its memory"); line["limit"] != int64(runMemory) {
		t.Errorf("log line is %v", line)
	}
	e.nothingMoved(t, repo)
	e.deployed(e.git(laptop, e.work(), "push", e.url("config"), "main"), 1)
}

// TestDeletion: a push without a pack has what its hooks need, too.
func TestDeletion(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	work := e.work()
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main:refs/heads/side")
	e.git(laptop, work, "push", e.url("config"), ":refs/heads/side").want(t, 0, "- [deleted]")
	e.nothingMoved(t, repo)
}

// TestFetchMemory: so does a git that sends.
func TestFetchMemory(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	e.mustGit(laptop, e.work(), "push", "-q", e.url("config"), "main")
	e.srv.fetches = admit.NewPool("fetch", "fetches", 1<<20)
	e.git(laptop, e.dir, "clone", "-q", "--bare", e.url("config"), "little").want(t, 128,
		string(ReasonGitMemory))
	if !fault.Is(e.failure(), fault.Refused) || !e.logged("git ran out of its memory") {
		t.Errorf("failed with %v", e.failure())
	}
}

// TestMemoryBudget: bombs that git may unpack, of five keys at once, wait for each other, so that all git processes
// together stay within the packs' share.
func TestMemoryBudget(t *testing.T) {
	const pushers, size, packs, small = 5, 80, 256 << 20, 16 << 20
	e := start(t, func(s *Server) { s.shareMemory(6 * packs) })
	bomb, commit := fixture.DeltaBomb(size)
	for i := range pushers {
		e.repo(fmt.Sprint("config", i))
	}
	stop := watchGit(t, "receive-pack", "index-pack", "rev-list")
	var all sync.WaitGroup
	for i := range pushers {
		laptop := e.user(fmt.Sprint("laptop", i), "deploy:*")
		all.Go(func() {
			e.push(laptop, fmt.Sprint("config", i), fixture.PushOf(bomb, commit, "refs/heads/other")).want(t, 0)
		})
	}
	all.Wait()
	peak := stop()
	t.Logf("%d bombs of %d MiB: %d MiB at most", pushers, size, peak>>20)
	if peak > packs+pushers*small {
		t.Errorf("git took %d MiB, its share is %d MiB", peak>>20, packs>>20)
	}
	if peak < size<<20 {
		t.Errorf("git took %d MiB: that was no bomb", peak>>20)
	}
	if n := e.srv.Stats().GitMemory; n != 0 {
		t.Errorf("%d bytes are still taken", n)
	}
}

// TestPackWaits: a push that finds no memory for its pack hears that it waits, and in the end that it has waited long
// enough; meanwhile others push what fits.
func TestPackWaits(t *testing.T) {
	t.Parallel() // it waits
	e := start(t, func(s *Server) { s.packWait = 3 * time.Second })
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	half := e.srv.packs.Size() / 2
	taken := []*admit.Turn{e.srv.packs.Request("one", half), e.srv.packs.Request("two", half-2*runMemory)}
	bomb, commit := fixture.DeltaBomb(128)
	s, err := e.dial(laptop).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	ended, w := make(chan error), &watcher{text: "refship: waiting: ", told: make(chan struct{})}
	s.Stdin, s.Stderr = bytes.NewReader(fixture.PushOf(bomb, commit, "refs/heads/main")), w
	go func() { ended <- s.Run("git-receive-pack '/config'") }()
	<-w.told
	e.git(e.user("ops", "deploy:config"), e.work(), "push", e.url("config"), "main:refs/heads/other").want(t, 0)
	var exit *ssh.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitStatus() != exitFailed ||
		!strings.Contains(w.said.String(), "try again later") {
		t.Errorf("ended with %v: %s", err, w.said.String())
	}
	if err := e.failure(); !errors.Is(err, errPackWaited) {
		t.Errorf("failed with %v", err)
	}
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref", "refs/heads/main"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	taken[1].GiveBack()
	e.push(laptop, "config", fixture.PushOf(bomb, commit, "refs/heads/other2")).want(t, 0)
	taken[0].GiveBack()
}

// push sends what no git client would.
func (e *env) push(u *user, name string, input []byte) result {
	e.t.Helper()
	c := e.dial(u)
	s, err := c.NewSession()
	if err != nil {
		e.t.Fatal(err)
	}
	s.Stdin = bytes.NewReader(input)
	return e.execIn(s, "git-receive-pack '/"+name+"'")
}

func (e *env) nothingMoved(t *testing.T, repo *repos.Repository) {
	t.Helper()
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if left := leftovers(t, repo); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// watchGit sums up again and again what the git processes below this one that run one of these commands have for
// themselves (RssAnon of proc(5)).
func watchGit(t testing.TB, commands ...string) (stop func() (peak int64)) {
	t.Helper()
	end, peak := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		most := int64(0)
		for {
			select {
			case <-end:
				peak <- most
				return
			case <-tick.C:
				most = max(most, gitMemoryNow(commands))
			}
		}
	}()
	return func() int64 {
		close(end)
		return <-peak
	}
}

// gitMemoryNow sums it up once. A process that ends meanwhile has nothing.
func gitMemoryNow(commands []string) (sum int64) {
	parents, anon := map[int]int{}, map[int]int64{}
	statuses, _ := filepath.Glob("/proc/[0-9]*/status") // the only error is a bad pattern
	for _, path := range statuses {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path))) // it is a number
		status, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		number := func(name string) int64 {
			_, rest, _ := strings.Cut(string(status), "\n"+name+":")
			fields := append(strings.Fields(rest), "")
			n, _ := strconv.ParseInt(fields[0], 10, 64) // a kernel thread has no memory
			return n
		}
		parents[pid] = int(number("PPid"))
		args, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err == nil && slices.ContainsFunc(strings.Split(string(args), "\x00"), func(arg string) bool {
			return slices.Contains(commands, arg)
		}) {
			anon[pid] = number("RssAnon") << 10
		}
	}
	for pid, n := range anon {
		at := pid
		for at > 1 && at != os.Getpid() {
			at = parents[at]
		}
		if at == os.Getpid() {
			sum += n
		}
	}
	return sum
}
