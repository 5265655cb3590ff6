package main

// What a user gains from this test: whatever becomes of etcd, ten nodes run on, and agree with the chain soon after it
// is back; an etcd that was restored from an older backup changes nothing until somebody has looked.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/fixture"
)

// fleet is some nodes of a chain in an etcd of its own, each a process.
type fleet struct {
	testing.TB
	dir   string
	etcd  *fixture.Process
	nodes []*background
}

const fleetChain = "/refship/fleet"

func newFleet(t *testing.T, size int) *fleet {
	f := &fleet{TB: t, dir: fixture.ShortDir(t), etcd: fixture.StartProcess(t)}
	for i := range size {
		f.node(fmt.Sprint("n", i))
	}
	return f
}

func (f *fleet) program() string {
	path, err := exec.LookPath("refship")
	if err != nil {
		f.Fatal(err)
	}
	return filepath.Join(filepath.Dir(path), plainDir, "refship")
}

func (f *fleet) at() []string {
	return []string{"--endpoints", f.etcd.URL(), "--namespace", fleetChain, "--data-dir", filepath.Join(f.dir, "none")}
}

// node starts a node.
func (f *fleet) node(name string) {
	f.Helper()
	args := append([]string{"agent", "--root", filepath.Join(f.dir, name), "--link", "current", "--name", name,
		"--period", "5s"}, f.at()...)
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
	out, err := exec.Command(f.program(), append([]string{"deploy", "--dir", dir}, f.at()...)...).CombinedOutput()
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
	triedInVain  = regexp.MustCompile(`msg="try failed" .*etcd unreachable`)
	notAnswered  = regexp.MustCompile(`msg="try failed" .*no answer within`)
	refusedEmpty = regexp.MustCompile(`is at no deploy yet, which does not extend it: it is older`)
)

func TestAgentsOutliveEtcd(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 10)
	f.deploy("first")
	f.agrees("first")

	f.etcd.Kill()
	for _, n := range f.nodes {
		if n.wait(triedInVain) == nil {
			t.Fatalf("a node does not say that etcd is gone:\n%s", n.text())
		}
	}
	f.runs("first")
	f.must(f.etcd.Restart())
	f.deploy("after-a-kill")
	f.agrees("after-a-kill")

	f.must(f.etcd.Pause())
	for _, n := range f.nodes {
		if n.wait(notAnswered) == nil {
			t.Fatalf("a node does not say that etcd stands still:\n%s", n.text())
		}
	}
	f.must(f.etcd.Resume())
	f.deploy("after-a-pause")
	f.agrees("after-a-pause")

	// All that the nodes wait for is compacted, and the members of the cluster start anew.
	f.compact()
	f.must(f.etcd.Restart())
	f.deploy("after-a-compaction")
	f.agrees("after-a-compaction")

	// Another, empty cluster at the same place, and then one whose chain is shorter.
	f.must(f.etcd.Restart("--data-dir", filepath.Join(f.dir, "other"), "--initial-cluster-token", "other"))
	for _, n := range f.nodes {
		if n.wait(refusedEmpty) == nil {
			t.Fatalf("a node does not refuse an empty chain:\n%s", n.text())
		}
	}
	f.deploy("of-another-chain")
	f.runs("after-a-compaction")
	for i := range f.nodes {
		root := filepath.Join(f.dir, fmt.Sprint("n", i))
		fixture.Eventually(t, func() bool {
			text, err := os.ReadFile(filepath.Join(root, ".refship", "refused"))
			return err == nil && strings.Contains(string(text), `"is":{"namespace":"`+fleetChain+`","chain":"`) &&
				strings.Contains(string(text), `"id":1,`)
		})
		if out, err := exec.Command(f.program(), "agent", "accept", "--root", root).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	f.agrees("of-another-chain")
	f.deploy("last")
	f.agrees("last")
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
