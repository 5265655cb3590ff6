package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"refship/deploy/git"
)

// maxMemory bounds the memory that one git process takes for itself. A few kilobytes can unpack to gigabytes: git
// puts together in memory a commit, a tree, and whatever comes as a delta. So such a push costs one process and not
// the server. A stock git sends no deltas of files over 512 MiB (core.bigFileThreshold); for one of that size git
// needs two such pieces.
const maxMemory = 2 << 30

// memorySettings keep git from taking more memory than it needs for one client among many. A file over bigFileThreshold
// goes through in pieces instead of as a whole, unless it comes as a delta. Packs are read through windows instead of
// being mapped as a whole.
func memorySettings() []string {
	return []string{
		"-c", "core.bigFileThreshold=16m",
		"-c", "core.packedGitWindowSize=16m",
		"-c", "core.packedGitLimit=64m",
		"-c", "pack.threads=1",
		"-c", "pack.windowMemory=64m",
		"-c", "pack.deltaCacheSize=64m",
	}
}

// gitProcess is one git process that talks to a client.
type gitProcess struct {
	dir     string   // of the repository
	args    []string // after memorySettings
	env     []string // besides git.Env and GIT_PROTOCOL
	stdin   io.Reader
	stdout  io.Writer
	started func() // nil: nothing to do then
}

// runGit runs git until it ends. If ctx ends first, git and what it started are told to end, then killed. Git dies with
// this process. The copying from stdin may go on afterwards: it ends with the reader, and session.wait waits for it.
func (x *session) runGit(ctx context.Context, p gitProcess) (input, error) {
	cmd := exec.Command("git", append(memorySettings(), p.args...)...)
	cmd.Dir = p.dir
	cmd.Env = git.Env(p.dir, p.env...)
	if x.protocol != "" {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+x.protocol)
	}
	cmd.Stdout, cmd.Stderr = p.stdout, x.err
	cmd.SysProcAttr = childAttr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return input{}, err
	}
	// The kernel's "kill me when my parent is gone" looks at the thread that forked, so that thread has to live on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return input{}, errors.Join(err, stdin.Close())
	}
	// git has not started anything yet: it waits for what the client wants.
	if err := limitMemory(cmd.Process.Pid, x.s.gitMemory); err != nil {
		err = fmt.Errorf("limit git's memory: %w", err)
		return input{}, errors.Join(err, stdin.Close(), cmd.Process.Kill(), cmd.Wait())
	}
	if p.started != nil {
		p.started()
	}
	in := &inputCounter{r: p.stdin}
	x.copying.Go(func() {
		// Neither side's error matters here: a client that is gone is an end of input for git, and a git that has
		// ended shows in its exit status.
		_, _ = io.CopyBuffer(struct{ io.Writer }{stdin}, in, make([]byte, 64<<10))
		_ = stdin.Close()
	})
	group := newProcessGroup(cmd.Process.Pid)
	stop := context.AfterFunc(ctx, group.terminate)
	err = cmd.Wait()
	stop()
	group.markEnded()
	return in.soFar(), err
}

// killAfter is how long git has to remove its lock files when it is told to end.
const killAfter = 2 * time.Second

// processGroup is a process that was started as the leader of its group, and what it started.
type processGroup struct {
	pid   int
	mu    sync.Mutex
	ended chan struct{} // closed when the process was waited for
}

func newProcessGroup(pid int) *processGroup {
	return &processGroup{pid: pid, ended: make(chan struct{})}
}

// terminate tells the group to end, and kills it where it does not.
func (g *processGroup) terminate() {
	g.signal(syscall.SIGTERM)
	t := time.NewTimer(killAfter)
	defer t.Stop()
	select {
	case <-g.ended:
	case <-t.C:
		g.signal(syscall.SIGKILL)
	}
}

// signal reaches the whole group, but never another one that got the same number later.
func (g *processGroup) signal(sig syscall.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.ended:
	default:
		_ = syscall.Kill(-g.pid, sig) // the only error is that the group is empty
	}
}

func (g *processGroup) markEnded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ended)
}

// input is what a client sent to git.
type input struct {
	bytes int64
	first [4]byte // of them
	ended bool    // the client's input was at its end before git was
}

// inputCounter notes what git was given.
type inputCounter struct {
	r  io.Reader
	mu sync.Mutex
	in input
}

func (c *inputCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.mu.Lock()
	if c.in.bytes < int64(len(c.in.first)) {
		copy(c.in.first[c.in.bytes:], p[:n])
	}
	c.in.bytes += int64(n)
	c.in.ended = err != nil
	c.mu.Unlock()
	return n, err
}

func (c *inputCounter) soFar() input {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in
}

// gitStatus is the exit status for how a git process ended. git has told its own errors by itself.
func (x *session) gitStatus(what string, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitDone
	case !errors.As(err, &exit):
		return x.fail(fmt.Errorf("run %s: %w", what, err))
	}
	if sig := endedBy(err); sig != 0 {
		return x.fail(fmt.Errorf("%s was ended by a signal: %s", what, sig))
	}
	return exit.ExitCode()
}

// endedBy is the signal that ended a process, 0 if none did.
func endedBy(err error) syscall.Signal {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return ws.Signal()
		}
	}
	return 0
}
