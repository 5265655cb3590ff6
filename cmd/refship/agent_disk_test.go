package main

// What a user gains from this test: whatever is wrong with a node's disk, its programs go on reading the release that
// they have, the node says what is wrong, and goes on when it is put right.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nodeDisk is how large the disk of a node's root is, in bytes.
const nodeDisk = 8 << 20

func TestAgentOnABadDisk(t *testing.T) {
	t.Parallel()
	if os.Getenv(onDiskEnv) == "" {
		runOnDisk(t)
		return
	}
	n := newNode(t)
	n.mount()
	before := n.deploy("before")
	n.settle("before", before)
	commit := n.deploy("small")

	fill := filepath.Join(n.in("node"), "fill")
	for _, trouble := range []struct {
		name        string
		make, mend  func() error
		prepare     string
		words, hint string
	}{
		{
			name: "nothing more can be written", words: "no space left on device",
			make: func() error { return fillUp(fill) },
			mend: func() error { return os.Remove(fill) },
		},
		{
			name: "the release does not fit", words: "and the disk of", hint: "free some space there",
			make: func() error { return os.WriteFile(fill, make([]byte, nodeDisk-400<<10), 0o600) },
			mend: func() error { return os.Remove(fill) },
		},
		{
			name: "prepare fills the disk", prepare: "head -c 100M /dev/zero >large", words: "No space left on device",
			make: func() error { return nil }, mend: func() error { return nil },
		},
		{
			name: "prepare leaves no room", prepare: "head -c 100M /dev/zero >large || true", words: "no space left on device",
			make: func() error { return nil }, mend: func() error { return nil },
		},
		{
			name: "it is read-only", words: "read-only file system",
			make: func() error { return unix.Mount("", n.in("node"), "", unix.MS_REMOUNT|unix.MS_RDONLY, "") },
			mend: func() error { return unix.Mount("", n.in("node"), "", unix.MS_REMOUNT, "") },
		},
		{
			name: "the link is a directory", words: "is no link", hint: "move it away",
			make: func() error {
				return errors.Join(os.Rename(n.in("node/current"), n.in("node/kept")), os.Mkdir(n.in("node/current"), 0o755))
			},
			mend: func() error {
				return errors.Join(os.Remove(n.in("node/current")), os.Rename(n.in("node/kept"), n.in("node/current")))
			},
		},
	} {
		if err := trouble.make(); err != nil {
			t.Fatalf("%s: %v", trouble.name, err)
		}
		cmd := n.agent("")
		if trouble.prepare != "" {
			cmd.Args = append(cmd.Args, "--prepare-command", trouble.prepare)
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte(trouble.words)) || !bytes.Contains(out, []byte(trouble.hint)) ||
			strings.Contains(string(out), "goroutine") {
			t.Errorf("%s: %v\n%s", trouble.name, err, out)
		}
		if err := trouble.mend(); err != nil {
			t.Fatalf("%s: %v", trouble.name, err)
		}
		if is := n.runs(trouble.name); is != before {
			t.Errorf("%s: %s runs, want %s", trouble.name, is, before)
		}
	}
	n.settle("in the end", commit)
}

// mount gives the node's root a disk of its own.
func (n *node) mount() {
	n.Helper()
	if err := errors.Join(os.Mkdir(n.in("node"), 0o755),
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", n.in("node"), "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", nodeDisk)),
	); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		n.Skipf("the kernel lets no process mount a disk here: %v", err)
	} else if err != nil {
		n.Fatalf("mount a small disk: %v", err)
	}
	n.Cleanup(func() {
		if err := unix.Unmount(n.in("node"), unix.MNT_DETACH); err != nil {
			n.Error(err)
		}
	})
}

// There is room for no block more, for one, for two … until the new release fits, and the same for files. (Where the
// blocks of the deploy itself do not fit, that is said before the first one is written.)
func TestAgentOutOfSpaceAtEachWrite(t *testing.T) {
	t.Parallel()
	if os.Getenv(onDiskEnv) == "" {
		runOnDisk(t)
		return
	}
	n := newNodeOf(t, 3)
	n.keepSecrets()
	n.mount()
	before := n.deploy("before")
	n.settle("before", before)
	for _, resource := range []struct {
		name  string
		limit func(used *unix.Statfs_t, more uint64) string
		least int // so many writes need one more
	}{
		{"blocks", func(used *unix.Statfs_t, more uint64) string {
			return fmt.Sprint("size=", (used.Blocks-used.Bfree+more)*uint64(used.Bsize))
		}, 1},
		{"files", func(used *unix.Statfs_t, more uint64) string {
			return fmt.Sprint("nr_inodes=", used.Files-used.Ffree+more)
		}, 10},
	} {
		commit := n.deploy(resource.name)
		used := new(unix.Statfs_t)
		if err := unix.Statfs(n.in("node"), used); err != nil {
			t.Fatal(err)
		}
		room, full := 0, 0
		for ; n.runs(resource.name) != commit; room++ {
			when := fmt.Sprintf("%d %s", room, resource.name)
			// What failed before has left nothing: else there is less room than there was, and this fails.
			if err := unix.Mount("", n.in("node"), "", unix.MS_REMOUNT, resource.limit(used, uint64(room))); err != nil {
				t.Fatalf("%s: %v", when, err)
			}
			out, err := n.agent("").CombinedOutput()
			is := n.runs(when)
			switch {
			case err == nil && is == commit:
			case err == nil || is != before || bytes.Contains(out, []byte("goroutine")):
				t.Fatalf("%s: %v, and %s runs\n%s", when, err, is, out)
			case bytes.Contains(out, []byte("no space left on device")):
				full++
			case !bytes.Contains(out, []byte("and the disk of")): // which was asked before
				t.Errorf("%s: %v\n%s", when, err, out)
			}
		}
		t.Logf("it runs with room for %d more %s, and came to %d writes too many", room-1, resource.name, full)
		if full < resource.least {
			t.Errorf("the disk was full at %d writes: that cannot be all", full)
		}
		whole := fmt.Sprintf("size=%d,nr_inodes=%d", nodeDisk, used.Files)
		if err := unix.Mount("", n.in("node"), "", unix.MS_REMOUNT, whole); err != nil {
			t.Fatal(err)
		}
		n.settle(resource.name, commit)
		before = commit
	}
}

// fillUp writes a file until the disk is full.
func fillUp(path string) error {
	out, err := exec.Command("sh", "-c", `head -c 100M /dev/zero >"$1"`, "sh", path).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("No space left")) {
		return errors.New("the disk is not full: " + string(out))
	}
	return nil
}
