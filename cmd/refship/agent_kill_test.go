package main

// What a user gains from these tests: whenever a node's machine dies, what its programs read is a whole release, and
// the next start goes on from there.

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

// node is a node of a world's chain.
type node struct {
	*world
	size  int                 // of a deploy, in files
	trees map[string][]string // what git archive has of a commit, and a secret, by its oid
	key   *age.X25519Identity // what each deploy has a secret for; nil: none has one
}

func newNode(t *testing.T) *node {
	t.Helper()
	return newNodeOf(t, 60)
}

// newNodeOf is a node of deploys of so many files.
func newNodeOf(t *testing.T, files int) *node {
	t.Helper()
	n := &node{world: newWorld(t), size: files, trees: map[string][]string{}}
	n.serve("")
	n.deploy("first")
	return n
}

// keepSecrets makes each deploy from now on have a secret for the node.
func (n *node) keepSecrets() {
	n.Helper()
	key, err := age.GenerateX25519Identity()
	if err == nil {
		err = os.WriteFile(n.in("identity"), []byte(key.String()+"\n"), 0o600)
	}
	if err != nil {
		n.Fatal(err)
	}
	n.key = key
}

// encrypt puts a secret into the work tree.
func (n *node) encrypt(secret string) {
	n.Helper()
	f, err := os.Create(n.in("work/secret.age"))
	if err != nil {
		n.Fatal(err)
	}
	w, err := age.Encrypt(f, n.key.Recipient())
	if err == nil {
		_, err = io.WriteString(w, secret)
		err = errors.Join(err, w.Close())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		n.Fatal(err)
	}
}

// deploy pushes a commit that changes some files and gives its oid.
func (n *node) deploy(message string) string {
	n.Helper()
	if n.key != nil {
		n.encrypt(message)
	}
	commit := n.commit(message, n.size)
	if err := n.push(); err != nil {
		n.Fatal(err)
	}
	dir := n.in("git-" + commit)
	n.must("git", "-C", n.in("work"), "archive", "-o", dir+".tar", commit)
	if err := os.Mkdir(dir, 0o755); err != nil {
		n.Fatal(err)
	}
	n.must("tar", "-x", "-f", dir+".tar", "-C", dir)
	if n.key != nil { // what is decrypted is the only thing more
		if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(message), 0o600); err != nil {
			n.Fatal(err)
		}
	}
	described, err := describeTree(dir)
	if err != nil {
		n.Fatal(err)
	}
	n.trees[commit] = described
	return commit
}

// agent is the command that runs the head once, and kills itself at a step ("": it does not).
func (n *node) agent(step string) *exec.Cmd {
	cmd := exec.CommandContext(n.Context(), n.program("refship"), "agent", "config", "--root", n.in("node"), "--link",
		"current", "--one-time", "--prepare-command", "test -d dir-0")
	if n.key != nil {
		cmd.Args = append(cmd.Args, "--age-identity", n.in("identity"))
	}
	cmd.Env = append(slices.Clone(n.env), "REFSHIP_FAILPOINT="+step)
	return cmd
}

// runs gives the commit whose whole tree the link leads to; "" if there is no link yet.
func (n *node) runs(when string) string {
	n.Helper()
	link := n.in("node/current")
	target, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		n.Fatal(err)
	}
	_, commit, _ := strings.Cut(filepath.Base(target), "-")
	is, err := describeTree(link)
	if err != nil {
		n.Fatalf("%s: %v", when, err)
	}
	if want, ok := n.trees[commit]; !ok || !slices.Equal(want, is) {
		n.Fatalf("%s: the link leads to %s, which has %d files and directories, want %d", when, target, len(is), len(want))
	}
	return commit
}

// settle runs the head, and checks that nothing else is left but the release before it.
func (n *node) settle(when, commit string) {
	n.Helper()
	if out, err := n.agent("").CombinedOutput(); err != nil {
		n.Fatalf("%s: %v\n%s", when, err, out)
	}
	if is := n.runs(when); is != commit {
		n.Fatalf("%s: after the restart %s runs, want %s", when, is, commit)
	}
	for dir, most := range map[string]int{"node/.worktrees": 2, "node/.refship/releases": 2, "node": 4} { // with a key
		left, err := os.ReadDir(n.in(dir))
		if err != nil || len(left) > most {
			n.Errorf("%s: in %s there is %v, %v", when, dir, left, err)
		}
	}
}

// agentSteps are the failure points of a try, and whether the new release runs when the node died there.
var agentSteps = []struct {
	at   string
	runs bool
}{
	{"seen", false},
	{"fetching", false},
	{"fetched", false},
	{"decrypted", false},
	{"prepared", false},
	{"ready", false},
	{"link-made", false},
	{"switched", true},
}

var agentKills = flag.Int("agent.kills", 10, "how often TestAgentKilledAtRandom kills a node; each step: a fifth of it")

func TestAgentKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.keepSecrets()
	before := ""
	for round := range max(1, *agentKills/5) {
		for _, step := range agentSteps {
			when := fmt.Sprintf("%s, round %d", step.at, round)
			commit := n.deploy(when)
			var killed *exec.ExitError
			if out, err := n.agent(step.at).CombinedOutput(); !errors.As(err, &killed) || killed.ExitCode() >= 0 {
				t.Fatalf("%s: the node is alive: is there no such step? %v\n%s", when, err, out)
			}
			want := before
			if step.runs {
				want = commit
			}
			if is := n.runs(when); is != want {
				t.Errorf("%s: %s runs, want %s", when, is, want)
			}
			n.settle(when, commit)
			before = commit
		}
	}
}

func TestAgentKilledAtRandom(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.keepSecrets()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	start := time.Now()
	commit := n.deploy("undisturbed")
	n.settle("undisturbed", commit)
	span := time.Since(start)
	hit, landed := 0, 0
	for round := 0; hit < *agentKills; round++ {
		if round > 20**agentKills {
			t.Fatalf("%d kills hit a running agent, want %d", hit, *agentKills)
		}
		when := fmt.Sprintf("round %d", round)
		if n.runs(when) == commit { // else there is something to do
			commit = n.deploy(when)
		}
		cmd := n.agent("")
		start := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%s: an undisturbed agent: %v", when, err)
			}
			span = time.Since(start)
		case <-time.After(time.Duration(random.Int64N(int64(span) * 5 / 4))):
			_ = cmd.Process.Kill() // it may have ended
			if err := <-ended; err == nil {
				break // it has
			}
			hit++
			if n.runs(when) == commit {
				landed++
			}
		}
		if random.IntN(2) == 0 { // else the next one finds what this one has left
			n.settle(when, commit)
		}
	}
	n.settle("the end", n.deploy("the end"))
	t.Logf("%d agents were killed, the last ones within %s; %d of them had switched", hit, span, landed)
}
