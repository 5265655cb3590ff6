package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"refship/deploy/git"
)

// settings are git's, in every repository. What replaces packs and refs is on disk before they go.
var settings = []string{
	"-c", "core.fsync=committed,derived-metadata,reference", "-c", "core.fsyncMethod=fsync",
	"-c", "repack.writeBitmaps=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
}

// packRefs is not niced: pushes may wait for its locks.
const packRefs = "pack-refs"

// steps are the upkeep, in this order.
var steps = [][]string{
	{"repack", "--geometric=2", "-d", "-q"},
	{"commit-graph", "write", "--reachable", "--split", "--no-progress"},
	{packRefs, "--all"},
}

// work does all steps in the repository at dir.
func (k *Keeper) work(ctx context.Context, dir string) error {
	for _, args := range steps {
		if err := k.step(ctx, dir, args); err != nil {
			return err
		}
	}
	return nil
}

// errNoMemory is the error of a step for which there was no memory.
var errNoMemory = errors.New("no memory for git")

// memory waits for a git's memory, for a while.
func (k *Keeper) memory(ctx context.Context, dir string) (limit int64, release func(), err error) {
	wait, cancel := context.WithTimeout(ctx, k.memoryWait)
	defer cancel()
	limit, release, err = k.cfg.Memory(wait, dir)
	if err != nil && wait.Err() != nil {
		err = errors.Join(errNoMemory, err)
	}
	return limit, release, err
}

// endGrace is how long git has to remove its files when it is told to end.
const endGrace = 2 * time.Second

// step runs one git, in a process group of its own, since git starts others.
func (k *Keeper) step(ctx context.Context, dir string, args []string) error {
	if err := git.CheckFiles(dir); err != nil {
		return fmt.Errorf("run git %s: %w", args[0], err)
	}
	limit, release, err := k.memory(ctx, dir)
	if err != nil {
		return fmt.Errorf("get memory for git %s: %w", args[0], err)
	}
	defer release()
	cmd := exec.CommandContext(ctx, "git", append(append(git.MemorySettings(), settings...), args...)...)
	cmd.Dir, cmd.Env = dir, git.Env(dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.SysProcAttr = childAttr()
	ended := make(chan struct{})
	cmd.Cancel = func() error {
		kill := time.AfterFunc(endGrace, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		go func() {
			<-ended
			kill.Stop()
		}()
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	// The kernel's "kill me when my parent is gone" looks at the thread that forked, so that thread has to live on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(ended)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run git %s: %w", args[0], err)
	}
	if args[0] != packRefs {
		beNice(cmd.Process.Pid)
	}
	if err := k.limitMemory(cmd.Process.Pid, limit); err != nil {
		return errors.Join(err, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL), cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return nil
}
