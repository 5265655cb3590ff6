package main

// What a user gains from these tests: no matter what happens to etcd during a push, git and the chain agree in the
// end, what went wrong is said once and by its name, and the server goes on without a restart.

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// fate is what becomes of a push that meets trouble.
type fate int

const (
	undeployed fate = iota // the ref has moved, and the chain not
	refused                // the ref has not moved
	deployed
)

// troubleCase is one push that stops at a step, until something has been done to etcd.
type troubleCase struct {
	name    string
	step    string
	act     func(*trouble)
	after   func(*trouble) // when the push has ended: makes etcd well again
	want    fate
	cause   string // what the one message must match
	members int    // of etcd; 0: one
}

// The steps at which something is done to etcd, in their order, and what becomes of a push that has no etcd from there
// on.
var troubleSteps = []struct {
	at   string
	want fate
}{
	{"pre-receive-start", refused},
	{"checked", refused},
	{"locked", refused},
	{"prepared", refused},
	{"contents-put", refused},
	{"uploaded", undeployed},
	{"post-receive-start", undeployed},
	{"publishing", undeployed},
	{"published", deployed},
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	fixture.Need(t, fixture.Program)
	cases := slowCases()
	for _, step := range troubleSteps {
		cases = append(cases, troubleCase{
			name: "killed, " + step.at, step: step.at, want: step.want,
			cause: "etcd unreachable: .*connection refused|no answer, it may be there or not: etcd unreachable",
			act:   func(w *trouble) { w.etcd.Kill() }, after: (*trouble).restartEtcd,
		})
	}
	for _, step := range []int{0, 2, 4, 7} {
		cases = append(cases, troubleCase{
			name: "stands still, " + troubleSteps[step].at, step: troubleSteps[step].at, want: troubleSteps[step].want,
			cause: "etcd unreachable: no answer within|no answer, it may be there or not: etcd unreachable",
			act:   (*trouble).pauseEtcd, after: (*trouble).resumeEtcd,
		})
	}
	cases = append(append(cases, changeCases()...), clusterCases()...)

	// Those that wait longest, for an answer to their publish, begin first.
	slices.SortStableFunc(cases, func(a, b troubleCase) int { return cmp.Compare(a.want, b.want) })
	// Most of them wait most of their time: more at once than there are processors.
	var running errgroup.Group
	running.SetLimit(12)
	for _, c := range cases {
		running.Go(func() error {
			t.Run(c.name, func(t *testing.T) { c.run(t) })
			return nil
		})
	}
	_ = running.Wait() // t has the errors
}

// slowCases need patience, and nothing else: etcd takes seconds, or is away for a moment.
func slowCases() []troubleCase {
	var cases []troubleCase
	for _, step := range []string{"checked", "prepared", "publishing"} {
		cases = append(cases, troubleCase{
			name: "slow, " + step, step: step, want: deployed,
			act: func(w *trouble) {
				w.pauseEtcd()
				w.later(2*time.Second, w.resumeEtcd) // a request has 5 s
			},
		}, troubleCase{
			name: "restarted, " + step, step: step, want: deployed,
			act: func(w *trouble) { w.restartEtcd() },
		}, troubleCase{
			name: "compacted, " + step, step: step, want: deployed,
			act: func(w *trouble) { w.compact() },
		})
	}
	return cases
}

// changeCases are those in which etcd is well and does not want any more.
func changeCases() []troubleCase {
	var cases []troubleCase
	for _, step := range []int{1, 3, 7} {
		at, want := troubleSteps[step].at, troubleSteps[step].want
		cases = append(cases, troubleCase{
			name: "permission revoked, " + at, step: at, want: want,
			cause: "/refship/config: .*etcd denied: etcdserver: permission denied",
			act:   func(w *trouble) { w.root("role", "revoke-permission", "refship", "--prefix", "/refship/") },
			after: func(w *trouble) {
				w.root("role", "grant-permission", "refship", "--prefix=true", "readwrite", "/refship/")
			},
		}, troubleCase{
			name: "full, " + at, step: at, want: want,
			cause: "etcd full: etcdserver: mvcc: database space exceeded|etcd's alarm NOSPACE is on",
			act:   (*trouble).fill, after: (*trouble).free,
		})
	}
	return cases
}

// clusterCases lose one of three members, which comes back when the push has ended: the push lands.
func clusterCases() []troubleCase {
	var cases []troubleCase
	for _, step := range []string{"checked", "prepared", "publishing"} {
		cases = append(cases, troubleCase{
			name: "leader killed, " + step, step: step, want: deployed, members: 3,
			act: func(w *trouble) { w.choose(true).Kill() }, after: (*trouble).restartEtcd,
		})
	}
	return append(cases, troubleCase{
		name: "follower killed", step: "prepared", want: deployed, members: 3,
		act: func(w *trouble) { w.choose(false).Kill() }, after: (*trouble).restartEtcd,
	}, troubleCase{
		name: "leader stands still", step: "publishing", want: deployed, members: 3,
		act: func(w *trouble) { w.check(w.choose(true).Pause()) }, after: (*trouble).resumeEtcd,
	}, troubleCase{
		name: "follower stands still", step: "locked", want: deployed, members: 3,
		act: func(w *trouble) { w.check(w.choose(false).Pause()) }, after: (*trouble).resumeEtcd,
	})
}

func (c troubleCase) run(t *testing.T) {
	w := newTrouble(t, c)
	w.stopAt(c.step)
	commit := w.commit("first", 3)
	said, err := w.pushAt(func() { c.act(w) })
	w.waitLater()

	want := commit
	if c.want == refused {
		want = ""
	}
	if ref := w.ref(); ref != want {
		t.Errorf("the ref is at %q, want %q", ref, want)
	}
	w.checkSaid(c, said, err)
	if c.after != nil {
		c.after(w)
	}
	if c.want == undeployed { // what the message said to do
		w.must("ssh", w.sshArgs("deploy", "config")...)
		w.agree("deployed afterwards")
	}
	if _, err := w.pushAgain(); err != nil {
		t.Errorf("the same push again: %v", err)
	}
	if head := w.agree("pushed again"); head != commit {
		t.Errorf("the chain is at %q, want %q", head, commit)
	}
	commit = w.commit("last", 3)
	if said, err := w.pushAgain(); err != nil {
		t.Errorf("the next push: %v\n%s", err, said)
	}
	if head := w.agree("the next push"); head != commit {
		t.Errorf("the chain is at %q, want %q", head, commit)
	}
	if lines := strings.Count(w.must("refship", "log", "--json"), "\n") + 1; lines != 2 {
		t.Errorf("%d deploys, want 2: one was lost or doubled", lines)
	}
}

var causeLine = regexp.MustCompile(`(?m)^remote: refship: (refused|pushed, not deployed): (.*\S) *$`)

// checkSaid wants one message with the cause and a hint, where there is one, and none else.
func (w *trouble) checkSaid(c troubleCase, said string, err error) {
	w.Helper()
	lines := causeLine.FindAllStringSubmatch(said, -1)
	if c.want == deployed {
		if err != nil || len(lines) != 0 || strings.Count(said, " published in ") != 1 {
			w.Errorf("want a deploy: %v\n%s", err, said)
		}
		return
	}
	verb := "refused"
	if c.want == undeployed {
		verb = "pushed, not deployed"
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		w.Errorf("git push: %v, want exit status 1\n%s", err, said)
	}
	if len(lines) != 1 || lines[0][1] != verb || !regexp.MustCompile(c.cause).MatchString(lines[0][2]) {
		w.Errorf("want one line %q with %q:\n%s", verb, c.cause, said)
	}
	const rejected = " ! [remote rejected] main -> main (pushed, not deployed: the ref has moved; "
	if strings.Contains(said, rejected) != (c.want == undeployed) {
		w.Errorf("git reports %s", said)
	}
	if !strings.Contains(said, "remote: refship: hint: ") {
		w.Errorf("no hint:\n%s", said)
	}
}

// trouble is a world whose etcd is a program of its own.
type trouble struct {
	*world
	members []*fixture.Process
	etcd    *fixture.Process // the member that something is done to
	fifo    string
	timer   sync.WaitGroup
}

func newTrouble(t *testing.T, c troubleCase) *trouble {
	w := &trouble{world: newWorld(t)}
	w.fifo = w.in("fifo")
	if err := unix.Mkfifo(w.fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	w.members = fixture.StartCluster(t, max(1, c.members), "--quota-backend-bytes=33554432", "--bcrypt-cost=4")
	w.etcd = w.members[0]
	urls := strings.Join(fixture.URLs(w.members), ",")
	w.env = append(w.env, "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+urls, "REFSHIP_ENDPOINTS="+urls)
	if strings.HasPrefix(c.name, "permission") {
		w.switchAuthOn()
	}
	return w
}

// switchAuthOn makes the least role, whose user refship is from here on, and root.
func (w *trouble) switchAuthOn() {
	for _, args := range [][]string{
		{"role", "add", "refship"},
		{"role", "grant-permission", "refship", "--prefix=true", "readwrite", "/refship/"},
		{"user", "add", "refship:ship"},
		{"user", "grant-role", "refship", "refship"},
		{"user", "add", "root:root"},
		{"user", "grant-role", "root", "root"},
		{"auth", "enable"},
	} {
		w.must("etcdctl", args...)
	}
	w.env = append(w.env, "REFSHIP_USER=refship:ship")
}

func (w *trouble) root(args ...string) {
	w.Helper()
	w.must("etcdctl", append([]string{"--user", "root:root"}, args...)...)
}

// stopAt starts a server that stops at a step of its first push.
func (w *trouble) stopAt(step string) {
	w.Helper()
	w.serveUnder([]string{"env", "REFSHIP_FAILPOINT=" + step, "REFSHIP_FAILPOINT_FIFO=" + w.fifo})
}

// pushAt pushes, calls act when the server has come to its step, and gives what the pusher read.
func (w *trouble) pushAt(act func()) (said string, err error) {
	w.Helper()
	pushed := make(chan struct{})
	go func() {
		defer close(pushed)
		said, err = w.pushAgain()
	}()
	step := w.reached(pushed)
	act()
	if err := step.Close(); err != nil {
		w.Fatal(err)
	}
	<-pushed
	return said, err
}

// reached waits until the server stands at its step: until then the pipe is not read.
func (w *trouble) reached(pushed <-chan struct{}) *os.File {
	w.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		file, err := os.OpenFile(w.fifo, os.O_WRONLY|unix.O_NONBLOCK, 0)
		switch {
		case err == nil:
			return file
		case !errors.Is(err, unix.ENXIO):
			w.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-pushed:
			w.Fatalf("the push has ended and not come to its step; the server said:\n%s", w.server.text())
		}
	}
}

// pushAgain pushes and gives what the pusher read.
func (w *trouble) pushAgain() (string, error) {
	cmd := exec.CommandContext(w.Context(), "git", "-C", w.in("work"), "push", w.url, "main")
	cmd.Env = w.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (w *trouble) sshArgs(args ...string) []string {
	address := strings.TrimSuffix(w.url, "/config")
	return append([]string{
		"-F", "none", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o",
		"StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null", "-i", w.in("id"), address,
	}, args...)
}

func (w *trouble) check(err error) {
	w.Helper()
	if err != nil {
		w.Error(err)
	}
}

func (w *trouble) dial() *clientv3.Client {
	w.Helper()
	client, err := etcd.Dial(w.Context(), etcd.Config{Endpoints: fixture.URLs(w.members)})
	if err != nil {
		w.Fatal(err)
	}
	return client
}

// choose makes the member that leads, or one that does not, the one that something is done to.
func (w *trouble) choose(leads bool) *fixture.Process {
	w.Helper()
	client := w.dial()
	defer client.Close()
	leader, err := fixture.Leader(w.Context(), client, w.members)
	if err != nil {
		w.Fatal(err)
	}
	for _, p := range w.members {
		if (p == leader) == leads {
			w.etcd = p
		}
	}
	return w.etcd
}

func (w *trouble) pauseEtcd()   { w.Helper(); w.check(w.etcd.Pause()) }
func (w *trouble) resumeEtcd()  { w.Helper(); w.check(w.etcd.Resume()) }
func (w *trouble) restartEtcd() { w.Helper(); w.check(w.etcd.Restart()) }

// later does something while the push goes on; waitLater waits for it.
func (w *trouble) later(after time.Duration, act func()) {
	w.timer.Add(1)
	time.AfterFunc(after, func() {
		defer w.timer.Done()
		act()
	})
}

func (w *trouble) waitLater() { w.timer.Wait() }

var revision = regexp.MustCompile(`"revision":(\d+)`)

// compact forgets all revisions but the last.
func (w *trouble) compact() {
	w.Helper()
	status := w.must("etcdctl", "endpoint", "status", "--write-out=json")
	w.must("etcdctl", "compact", revision.FindStringSubmatch(status)[1])
}

// fill puts things into etcd until it has no room for anything.
func (w *trouble) fill() {
	w.Helper()
	client := w.dial()
	defer client.Close()
	chunk := strings.Repeat("x", 1<<20)
	for i := range 1000 {
		_, err := client.Put(w.Context(), fmt.Sprintf("/junk/%d", i), chunk)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		w.check(err)
	}
	w.Fatal("etcd does not become full")
}

// free does as the hint says.
func (w *trouble) free() {
	w.Helper()
	w.must("etcdctl", "del", "--prefix", "/junk/")
	w.compact()
	w.must("etcdctl", "defrag")
	w.must("etcdctl", "alarm", "disarm")
}
