package main

// What a user gains from this test: whatever is wrong with a node's disk, its programs go on reading the release that
// they have, the node says what is wrong, and goes on when it is put right.

import (
	"bytes"
	"errors"
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
	if err := errors.Join(os.Mkdir(n.in("node"), 0o755),
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", n.in("node"), "tmpfs", 0, "size=8m,mode=755"),
	); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skipf("the kernel lets no process mount a disk here: %v", err)
	} else if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(n.in("node"), unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
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

// fillUp writes a file until the disk is full.
func fillUp(path string) error {
	out, err := exec.Command("sh", "-c", `head -c 100M /dev/zero >"$1"`, "sh", path).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("No space left")) {
		return errors.New("the disk is not full: " + string(out))
	}
	return nil
}
