package main

// What a user gains from these tests: whenever a node's machine dies while a directory is written in place, each file in
// it is whole and one of the two that it can be, what was no deploy's is untouched, and the next start goes on from
// there: nothing is left of the deploy before.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inPlace is a node that fills a directory in place, in which somebody has files, too.
type inPlace struct {
	*node
	dir    string
	mine   []string   // what is nobody's business, as describeTree has it
	old    []string   // what the directory had when it was last whole
	nexts  [][]string // what it would have had with each release since
	rounds int
}

// newInPlace has its directory in a node's world.
func newInPlace(t *testing.T, n *node, dir string) *inPlace {
	p := &inPlace{node: n, dir: n.in(dir)}
	for path, content := range map[string]string{"mine": "x", "dir-0/mine": "y", "own/sub/mine": "z"} {
		path = filepath.Join(p.dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	p.mine = p.conf()
	p.old = p.mine
	return p
}

// agent is node's, in place.
func (n *inPlace) agent(step string) *exec.Cmd {
	cmd := n.node.agent(step)
	for i, arg := range cmd.Args {
		if arg == "current" {
			cmd.Args[i] = n.dir
		}
	}
	cmd.Args = append(cmd.Args, "--no-link")
	return cmd
}

// deploy changes files, has some come and go, a link turn, and a file become a directory or a directory a file.
func (n *inPlace) deploy(message string) string {
	n.Helper()
	n.rounds++
	in := func(path string) string { return n.in("work/" + path) }
	olds, err := filepath.Glob(in("round-*"))
	if err != nil {
		n.Fatal(err)
	}
	for _, old := range append(olds, in("turns"), in("link")) {
		if err := os.RemoveAll(old); err != nil {
			n.Fatal(err)
		}
	}
	files := []string{fmt.Sprintf("round-%d/a", n.rounds), fmt.Sprintf("round-%d/b/c", n.rounds), "turns"}
	if n.rounds%2 == 0 {
		files[2] = "turns/into/this"
	}
	for _, path := range files {
		err := errors.Join(os.MkdirAll(filepath.Dir(in(path)), 0o755), os.WriteFile(in(path), []byte(message), 0o644))
		if err != nil {
			n.Fatal(err)
		}
	}
	if err := os.Symlink(files[0], in("link")); err != nil {
		n.Fatal(err)
	}
	return n.node.deploy(message)
}

// conf describes the directory.
func (n *inPlace) conf() []string {
	n.Helper()
	is, err := describeTree(n.dir)
	if err != nil {
		n.Fatal(err)
	}
	return is
}

// with is what the directory has when it has a commit: the commit's files, and those that are somebody's.
func (n *inPlace) with(commit string) []string {
	all := slices.Concat(n.trees[commit], n.mine)
	slices.Sort(all)
	return slices.Compact(all)
}

func isTemporary(line string) bool { return strings.Contains(line, `.refship-tmp" `) }

// partly checks that each file of the directory is whole, of the release before or of one since, a commit the last, and
// that what all of them have, and what is somebody's, is there. It tells how many of what the commit alone has are there.
func (n *inPlace) partly(when, commit string) (landed int) {
	n.Helper()
	next := n.with(commit)
	n.nexts = append(n.nexts, next)
	is, may := map[string]bool{}, map[string]int{}
	for _, one := range append([][]string{n.old}, n.nexts...) {
		for _, line := range one {
			may[line]++
		}
	}
	for _, line := range n.conf() {
		is[line] = true
		if !isTemporary(line) && may[line] == 0 {
			n.Errorf("%s: there is %.200s", when, line)
		}
	}
	for line, times := range may {
		if times == 1+len(n.nexts) && !is[line] {
			n.Errorf("%s: there is no %.200s", when, line)
		}
	}
	for _, line := range next {
		if is[line] && !slices.Contains(n.old, line) {
			landed++
		}
	}
	return landed
}

// settle runs the head, and checks that the directory has it and nothing else.
func (n *inPlace) settle(when, commit string) {
	n.Helper()
	if out, err := n.agent("").CombinedOutput(); err != nil {
		n.Fatalf("%s: %v\n%s", when, err, out)
	}
	is, want := n.conf(), n.with(commit)
	slices.Sort(is)
	if !slices.Equal(is, want) {
		n.Fatalf("%s: after the restart the directory has %d files and directories, want %d:\n%s", when, len(is), len(want),
			strings.Join(differing(is, want), "\n"))
	}
	for dir, want := range map[string]int{"node/.worktrees": 0, "node/.refship/releases": 0, "node/.refship/lists": 0} {
		left, err := os.ReadDir(n.in(dir))
		if err != nil || len(left) != want {
			n.Errorf("%s: in %s there is %v, %v", when, dir, left, err)
		}
	}
	n.old, n.nexts = want, nil
}

// differing are the lines that only one of two has.
func differing(is, want []string) (all []string) {
	for _, line := range is {
		if !slices.Contains(want, line) {
			all = append(all, "+ "+line)
		}
	}
	for _, line := range want {
		if !slices.Contains(is, line) {
			all = append(all, "- "+line)
		}
	}
	return all
}

// inPlaceSteps are the failure points of a try in place, and how much of the new release is there when the node died.
var inPlaceSteps = []struct {
	at  string
	has string // "nothing", "something", "all"
}{
	{"seen", "nothing"},
	{"fetching", "nothing"},
	{"fetched", "nothing"},
	{"prepared", "nothing"},
	{"ready", "nothing"},
	{"filling", "nothing"},
	{"written", "nothing"},
	{"replaced", "something"},
	{"replaced:5", "something"},
	{"replaced:60", "something"},
	{"removing", "all"},
	{"listed", "all"},
	{"switched", "all"},
}

func TestInPlaceKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := newInPlace(t, newNode(t), "conf")
	n.settle("undisturbed", n.deploy("undisturbed"))
	for round := range max(1, *agentKills/5) {
		for _, step := range inPlaceSteps {
			when := fmt.Sprintf("%s, round %d", step.at, round)
			commit := n.deploy(when)
			var killed *exec.ExitError
			if out, err := n.agent(step.at).CombinedOutput(); !errors.As(err, &killed) || killed.ExitCode() >= 0 {
				t.Fatalf("%s: the node is alive: is there no such step? %v\n%s", when, err, out)
			}
			landed := n.partly(when, commit)
			all := len(slices.DeleteFunc(n.with(commit), func(line string) bool { return slices.Contains(n.old, line) }))
			has := "something"
			switch landed {
			case all:
				has = "all"
			case 0:
				has = "nothing"
			}
			// A directory that was missing is there early, and is nothing that a program reads.
			if has != step.has && (step.has != "nothing" || landed > 4) {
				t.Errorf("%s: %d of %d are there, want %s", when, landed, all, step.has)
			}
			n.settle(when, commit)
		}
	}
}

func TestInPlaceKilledAtRandom(t *testing.T) {
	t.Parallel()
	n := newInPlace(t, newNode(t), "conf")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	start := time.Now()
	n.settle("undisturbed", n.deploy("undisturbed"))
	span := time.Since(start)
	hit, partly := 0, 0
	for round := 0; hit < *agentKills; round++ {
		if round > 20**agentKills {
			t.Fatalf("%d kills hit a running agent, want %d", hit, *agentKills)
		}
		when := fmt.Sprintf("round %d", round)
		commit := n.deploy(when)
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
			if n.partly(when, commit) > 0 {
				partly++
			}
		}
		if random.IntN(2) == 0 { // else the next one finds what this one has left
			n.settle(when, commit)
		} else {
			n.partly(when, commit)
		}
	}
	n.settle("the end", n.deploy("the end"))
	t.Logf("%d agents were killed, the last ones within %s; %d of them had begun to replace files", hit, span, partly)
}

// There is room for no block more, for one, for two … until the new release fits, and the same for files: the directory
// has all of the old release, or all of the new one.
func TestInPlaceOutOfSpaceAtEachWrite(t *testing.T) {
	t.Parallel()
	if os.Getenv(onDiskEnv) == "" {
		runOnDisk(t)
		return
	}
	small := newNodeOf(t, 3)
	small.mount()
	n := newInPlace(t, small, "node/conf")
	n.settle("before", n.deploy("before"))
	for _, resource := range []string{"size", "nr_inodes"} {
		commit := n.deploy(resource)
		used := new(unix.Statfs_t)
		if err := unix.Statfs(n.dir, used); err != nil {
			t.Fatal(err)
		}
		full, done := 0, false
		for room := uint64(0); !done; room++ {
			when := fmt.Sprintf("room for %d more of %s", room, resource)
			limit := fmt.Sprint("size=", (used.Blocks-used.Bfree+room)*uint64(used.Bsize))
			if resource == "nr_inodes" {
				limit = fmt.Sprint("nr_inodes=", used.Files-used.Ffree+room)
			}
			if err := unix.Mount("", n.in("node"), "", unix.MS_REMOUNT, limit); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			out, err := n.agent("").CombinedOutput()
			is := n.conf()
			slices.Sort(is)
			done = err == nil
			switch {
			case done && slices.Equal(is, n.with(commit)):
			case done, strings.Contains(string(out), "goroutine"):
				t.Fatalf("%s: %v\n%s", when, err, out)
			case !slices.Equal(is, n.old) && !slices.Equal(is, n.with(commit)):
				t.Fatalf("%s: the directory has neither release: to the old one\n%s\n%s", when,
					strings.Join(differing(is, n.old), "\n"), out)
			case strings.Contains(string(out), "no space left on device"):
				full++
			case !strings.Contains(string(out), "and the disk of"): // which was asked before
				t.Errorf("%s: %v\n%s", when, err, out)
			}
		}
		t.Logf("with little %s it came to %d writes too many", resource, full)
		if full == 0 {
			t.Errorf("with little %s the disk was never full", resource)
		}
		whole := fmt.Sprintf("size=%d,nr_inodes=%d", nodeDisk, used.Files)
		if err := unix.Mount("", n.in("node"), "", unix.MS_REMOUNT, whole); err != nil {
			t.Fatal(err)
		}
		n.settle(resource, commit)
	}
}

// A node dies while it repairs: each file is one of the two that it can be, and the next start goes on.
func TestRepairKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	commit := n.deploy("one")
	repair := func(step string) *exec.Cmd {
		cmd := n.agent(step)
		cmd.Args = append(cmd.Args, "--check-drift", "1h", "--repair")
		return cmd
	}
	if out, err := repair("").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n.runs("undisturbed")
	for _, step := range []string{"mend-written", "mend-replaced", "mend-replaced:20", "mend-removing"} {
		for i := range 60 {
			path := n.in(fmt.Sprintf("node/current/dir-%d/file-%d", i%20, i))
			if err := errors.Join(os.WriteFile(path, []byte("changed"), 0o644), os.WriteFile(path+".extra", nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		var killed *exec.ExitError
		if out, err := repair(step).CombinedOutput(); !errors.As(err, &killed) || killed.ExitCode() >= 0 {
			t.Fatalf("%s: the node is alive: is there no such step? %v\n%s", step, err, out)
		}
		is, err := describeTree(n.in("node/current"))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range is {
			if !isTemporary(line) && !strings.Contains(line, `.extra" `) && !strings.HasSuffix(line, `"changed"`) &&
				!slices.Contains(n.trees[commit], line) {
				t.Errorf("%s: there is %.200s", step, line)
			}
		}
		if out, err := repair("").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", step, err, out)
		}
		n.runs(step)
	}
}
