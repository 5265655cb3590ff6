package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// How a tree comes to a directory.
const (
	checkoutName = "refship checkout"
	cloneName    = "git clone --depth 1"
)

// checkouts measures refship checkout beside git clone --depth 1 from the same server.
func (b *meter) checkouts(ctx context.Context) error {
	for _, size := range b.smallAndLarge() {
		if err := b.checkoutsOf(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

func (b *meter) checkoutsOf(ctx context.Context, size string) error {
	name := "checkout-" + strings.ToLower(size)
	r, err := b.deployedOnce(ctx, size, name)
	if err != nil {
		return err
	}
	tools := []struct {
		name string
		cmd  func(dir string) *exec.Cmd
	}{
		{checkoutName, func(dir string) *exec.Cmd { return b.embedded.refship(ctx, "checkout", name, dir) }},
		{cloneName, func(dir string) *exec.Cmd {
			return b.command(ctx, b.peers[0].env, "git", "clone", "--quiet", "--depth", "1", r.urls[0], dir)
		}},
		{cloneName + ", local path", func(dir string) *exec.Cmd {
			return b.command(ctx, nil, "git", "clone", "--quiet", "--depth", "1", "file://"+r.homes[0], dir)
		}},
	}
	// All stay until the run ends: where files were just removed, ext4 may look at each of their inodes for each new one.
	top := b.in(name + "-out")
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	for round := range b.times(size) {
		for _, i := range b.turns(len(tools), round) {
			out, err := run(tools[i].cmd(filepath.Join(top, fmt.Sprint(round, "-", i))))
			if err != nil {
				return err
			}
			b.ms("checkout", size, tools[i].name, out.took)
		}
	}
	return nil
}

// deployedOnce makes a repository whose first commit is pushed to the refship with an embedded etcd. When it returns,
// all that was written so far is on disk, and in the way of nothing that is measured.
func (b *meter) deployedOnce(ctx context.Context, size, name string) (*repository, error) {
	r, err := b.source(ctx, size, name, b.peers[:1])
	if err == nil {
		_, err = b.push(ctx, r, 0, b.peers[0])
	}
	if err == nil {
		err = b.settle(ctx)
	}
	return r, err
}

// settle waits until all that was written is on disk.
func (b *meter) settle(ctx context.Context) error {
	_, err := run(b.command(ctx, nil, "sync"))
	return err
}

// smallAndLarge are the corpora of what a node has of a tree.
func (p *plan) smallAndLarge() []string { return slices.Compact([]string{"S", p.large}) }

// times is how many rounds a corpus gets.
func (b *meter) times(size string) int {
	if size == "S" {
		return b.rounds
	}
	return b.few + 2
}

// What is told of a node, and of a copy of the tree that it has.
const (
	nodeSwitch = "publish to switched"
	agentName  = "refship agent"
	nodeCopy   = "copy of the node's tree"
	copyName   = "cp -a --reflink=auto"
)

// node measures how long after a deploy's publish a node's link leads to it, beside cp of the same tree.
func (b *meter) node(ctx context.Context) error {
	for _, size := range b.smallAndLarge() {
		if err := b.nodeOf(ctx, size); err != nil {
			return err
		}
	}
	return nil
}

func (b *meter) nodeOf(ctx context.Context, size string) error {
	name := "node-" + strings.ToLower(size)
	r, err := b.deployedOnce(ctx, size, name)
	if err != nil {
		return err
	}
	root := b.in(name)
	// All releases and copies stay until the run ends, as checkouts do.
	agent, err := b.start(b.embedded.refship(ctx, "agent", name, "--root", root, "--link", "current",
		"--keep-releases", "1000"), name+".log")
	if err != nil {
		return err
	}
	defer agent.stop()
	if _, err := b.switched(ctx, name, root, 1); err != nil {
		return err
	}
	for round := range b.times(size) {
		if err := r.change(ctx, b.world, r.dir, round); err != nil {
			return err
		}
		ways := []struct {
			what, name string
			do         func() (time.Duration, error)
		}{
			{nodeSwitch, agentName, func() (time.Duration, error) {
				if _, err := b.push(ctx, r, 0, b.peers[0]); err != nil {
					return 0, err
				}
				return b.switched(ctx, name, root, round+2)
			}},
			{nodeCopy, copyName, func() (time.Duration, error) {
				to := b.in(fmt.Sprint(name, "-copy-", round))
				out, err := run(b.command(ctx, nil, "cp", "-a", "--reflink=auto", root+"/current/.", to))
				return out.took, err
			}},
		}
		for _, i := range b.turns(len(ways), round) {
			if err := b.settle(ctx); err != nil {
				return err
			}
			took, err := ways[i].do()
			if err != nil {
				return err
			}
			b.ms(ways[i].what, size, ways[i].name, took)
		}
	}
	return nil
}

// switched waits until a node runs deploy id, and gives the time from the record's time to that of the link.
func (b *meter) switched(ctx context.Context, chain, root string, id int) (time.Duration, error) {
	link := root + "/current"
	changed, err := await(ctx, time.Minute, fmt.Sprintf("deploy %d at the node", id), func() (time.Time, bool) {
		to, err := os.Readlink(link)
		if err != nil || !strings.Contains(to, fmt.Sprintf("/%d-", id)) {
			return time.Time{}, false
		}
		info, err := os.Lstat(link)
		if err != nil {
			return time.Time{}, false
		}
		return info.ModTime(), true
	})
	if err != nil {
		return 0, err
	}
	out, err := run(b.embedded.refship(ctx, "show", "--json", fmt.Sprintf("%s@%d", chain, id)))
	if err != nil {
		return 0, err
	}
	var shown struct {
		Record struct {
			Time time.Time `json:"time"`
		} `json:"record"`
	}
	if err := json.Unmarshal([]byte(out.stdout), &shown); err != nil {
		return 0, fmt.Errorf("%w in %q", err, out.stdout)
	}
	if shown.Record.Time.IsZero() {
		return 0, fmt.Errorf("no time in %q", out.stdout)
	}
	return changed.Sub(shown.Record.Time), nil
}
