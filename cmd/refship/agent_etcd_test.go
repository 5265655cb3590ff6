package main

// What a user gains from this test: whatever becomes of etcd, ten nodes run on, and agree with the chain soon after it
// is back; an etcd that was restored from an older backup changes nothing until somebody has looked.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
)

// fleet is some nodes of a chain in an etcd of its own, each a process.
type fleet struct {
	testing.TB
	dir   string
	etcd  *fixture.Process
	net   *fixture.Partition // between etcd and the nodes; nil: nothing is
	nodes []*background
}

const fleetChain = "/refship/fleet"

func newFleet(t *testing.T, size int) *fleet {
	f := &fleet{TB: t, dir: fixture.ShortDir(t), etcd: fixture.StartProcess(t)}
	f.start(size)
	return f
}

func (f *fleet) start(size int) {
	for i := range size {
		f.node(fmt.Sprint("n", i))
	}
}

func (f *fleet) program() string {
	path, err := exec.LookPath("refship")
	if err != nil {
		f.Fatal(err)
	}
	return filepath.Join(filepath.Dir(path), plainDir, "refship")
}

func (f *fleet) at(endpoint string) []string {
	return []string{"--endpoints", endpoint, "--namespace", fleetChain, "--data-dir", filepath.Join(f.dir, "none")}
}

// node starts a node.
func (f *fleet) node(name string) {
	f.Helper()
	endpoint := f.etcd.URL()
	if f.net != nil {
		endpoint = f.net.Addr
	}
	args := append([]string{"agent", "--root", filepath.Join(f.dir, name), "--link", "current", "--name", name,
		"--period", "5s"}, f.at(endpoint)...)
	cmd := exec.Command(f.program(), args...)
	node := &background{cmd: cmd, changed: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = node, node
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	go func() {
		node.err = cmd.Wait()
		close(node.ended)
	}()
	f.nodes = append(f.nodes, node)
	f.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-node.ended
		if f.Failed() {
			f.Logf("node %s said:\n%s", name, node.text())
		}
	})
}

// deploy deploys a directory with one file, which says what.
func (f *fleet) deploy(what string) {
	f.Helper()
	dir := filepath.Join(f.dir, "dir-"+what)
	if err := os.Mkdir(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(what), 0o644); err != nil {
		f.Fatal(err)
	}
	out, err := exec.Command(f.program(), append([]string{"deploy", "--dir", dir}, f.at(f.etcd.URL())...)...).CombinedOutput()
	if err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
}

// agrees waits until all nodes run what says so.
func (f *fleet) agrees(what string) {
	f.Helper()
	for i := range f.nodes {
		path := filepath.Join(f.dir, fmt.Sprint("n", i), "current", "file")
		fixture.Eventually(f, func() bool {
			content, err := os.ReadFile(path)
			return err == nil && string(content) == what
		})
	}
}

// runs checks that all nodes run that now.
func (f *fleet) runs(what string) {
	f.Helper()
	for i := range f.nodes {
		content, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprint("n", i), "current", "file"))
		if err != nil || string(content) != what {
			f.Errorf("node n%d runs %q, %v, want %q", i, content, err, what)
		}
	}
}

var (
	triedInVain   = regexp.MustCompile(`msg="try failed" .*etcd unreachable`)
	notAnswered   = regexp.MustCompile(`msg="try failed" .*no answer within`)
	refusedEmpty  = regexp.MustCompile(`is at no deploy yet, which does not extend it: it is older`)
	refusedOlder  = regexp.MustCompile(`is at deploy 4, \S+, which does not extend it: it is older`)
	refusedSecond = regexp.MustCompile(`is at deploy 5, \S+, which does not extend it: it is another deploy with the same number`)
)

func TestAgentsOutliveEtcd(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 10)
	f.deploy("first")
	f.agrees("first")

	f.etcd.Kill()
	f.say(triedInVain)
	f.runs("first")
	f.must(f.etcd.Restart())
	f.deploy("after-a-kill")
	f.agrees("after-a-kill")

	f.must(f.etcd.Pause())
	f.say(notAnswered)
	f.must(f.etcd.Resume())
	f.deploy("after-a-pause")
	f.agrees("after-a-pause")

	// All that the nodes wait for is compacted, and the members of the cluster start anew.
	f.compact()
	f.must(f.etcd.Restart())
	f.deploy("after-a-compaction")
	f.agrees("after-a-compaction")

	// A backup is restored that lacks the newest deploy; the next one has the number of that which is lost.
	snapshot := f.snapshot()
	f.deploy("lost")
	f.agrees("lost")
	f.must(fixture.RestoreCluster([]*fixture.Process{f.etcd}, snapshot))
	f.say(refusedOlder)
	f.deploy("in-its-place")
	f.say(refusedSecond)
	f.runs("lost")
	f.accept("5")
	f.agrees("in-its-place")

	// Another, empty cluster at the same place, and then one whose chain is shorter.
	f.must(f.etcd.Restart("--data-dir", filepath.Join(f.dir, "other"), "--initial-cluster-token", "other"))
	f.say(refusedEmpty)
	f.deploy("of-another-chain")
	f.runs("in-its-place")
	f.accept("1")
	f.agrees("of-another-chain")
	f.deploy("last")
	f.agrees("last")
}

// The network between etcd and the nodes: packets that come late, connections that are forgotten, and ended.
func TestAgentsOutlivePartitions(t *testing.T) {
	t.Parallel()
	f := &fleet{TB: t, dir: fixture.ShortDir(t), etcd: fixture.StartProcess(t)}
	f.net = fixture.NewPartition(t, f.etcd.Client)
	f.start(10)
	before := "first"
	f.deploy(before)
	f.agrees(before)
	for _, trouble := range []struct {
		name string
		make func()
	}{{"held", f.net.Hold}, {"swallowed", f.net.Swallow}, {"cut", f.net.Cut}} {
		failed := f.failures()
		trouble.make()
		f.deploy(trouble.name)
		fixture.Eventually(t, func() bool { // each knows
			for i, now := range f.failures() {
				if now == failed[i] {
					return false
				}
			}
			return true
		})
		f.runs(before)
		f.net.Heal()
		before = trouble.name
		f.agrees(before)
	}
	f.deploy("whole")
	f.agrees("whole")
}

// failures are how many tries of each node have failed.
func (f *fleet) failures() (counts []int) {
	for _, n := range f.nodes {
		counts = append(counts, strings.Count(n.text(), `msg="try failed"`))
	}
	return counts
}

// say waits until each node has said something.
func (f *fleet) say(pattern *regexp.Regexp) {
	f.Helper()
	for _, n := range f.nodes {
		if n.wait(pattern) == nil {
			f.Fatalf("a node does not say %s:\n%s", pattern, n.text())
		}
	}
}

// accept waits until each node has refused a deploy of that number, and says that it is right.
func (f *fleet) accept(id string) {
	f.Helper()
	for i := range f.nodes {
		root := filepath.Join(f.dir, fmt.Sprint("n", i))
		fixture.Eventually(f, func() bool {
			text, err := os.ReadFile(filepath.Join(root, ".refship", "refused"))
			_, is, _ := strings.Cut(string(text), `"is":{"namespace":"`+fleetChain+`","chain":"`)
			is, _, _ = strings.Cut(is, `"hash":`)
			return err == nil && strings.HasSuffix(is, `"id":`+id+`,`)
		})
		if out, err := exec.Command(f.program(), "agent", "accept", "--root", root).CombinedOutput(); err != nil {
			f.Fatalf("%v\n%s", err, out)
		}
	}
}

// snapshot makes a backup of etcd.
func (f *fleet) snapshot() (path string) {
	f.Helper()
	path = filepath.Join(f.dir, "snapshot")
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{f.etcd.URL()}})
	f.must(err)
	defer client.Close()
	from, err := etcd.TakeSnapshot(f.Context(), client)
	f.must(err)
	defer from.Close()
	to, err := os.Create(path)
	f.must(err)
	_, err = io.Copy(to, from)
	f.must(errors.Join(err, to.Close()))
	return path
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// compact forgets all revisions but the newest.
func (f *fleet) compact() {
	f.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{f.etcd.URL()}})
	f.must(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	resp, err := client.Get(ctx, "x")
	f.must(err)
	_, err = client.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	f.must(err)
}
