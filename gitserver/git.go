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

// gitProcess is one git process that talks to a client.
type gitProcess struct {
	dir     string   // of the repository
	memory  int64    // that it may take for itself, in bytes
	nice    int      // steps of git.Lower
	args    []string // after git.MemorySettings
	env     []string // besides git.Env and GIT_PROTOCOL
	feed    func(g *processGroup, stdin io.Writer)
	stdout  io.Writer
	watch   *git.WordWatch // on what it writes
	started func()         // nil: nothing to do then
}

// runGit runs git until it ends. If ctx ends first, git and what it started are told to end, then killed. Git dies with
// this process. The feeding may go on afterwards: it ends with the client's input, and session.wait waits for it.
func (x *session) runGit(ctx context.Context, p gitProcess) error {
	cmd := exec.Command("git", append(git.MemorySettings(), p.args...)...)
	cmd.Dir = p.dir
	cmd.Env = git.Env(p.dir, p.env...)
	if x.protocol != "" {
		cmd.Env = append(cmd.Env, "GIT_PROTOCOL="+x.protocol)
	}
	cmd.Stdout, cmd.Stderr = p.watch.On(p.stdout), p.watch.On(x.err)
	cmd.SysProcAttr = childAttr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	// The kernel's "kill me when my parent is gone" looks at the thread that forked, so that thread has to live on.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return errors.Join(err, stdin.Close())
	}
	// git has not started anything yet, and has read nothing: it waits for what the client wants.
	if err := errors.Join(git.LimitMemory(cmd.Process.Pid, p.memory), git.Lower(cmd.Process.Pid, p.nice)); err != nil {
		return errors.Join(err, stdin.Close(), cmd.Process.Kill(), cmd.Wait())
	}
	if p.started != nil {
		p.started()
	}
	group := newProcessGroup(cmd.Process.Pid)
	x.copying.Go(func() {
		p.feed(group, stdin)
		_ = stdin.Close()
	})
	stop := context.AfterFunc(ctx, group.terminate)
	err = cmd.Wait()
	stop()
	group.markEnded()
	return err
}

// copyInput hands a client's input to git. Neither side's error matters: a client that is gone is an end of input for
// git, and a git that has ended shows in its exit status.
func copyInput(stdin io.Writer, in io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{stdin}, in, make([]byte, 64<<10))
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

// limitMemory bounds what the process, and each one that it starts from now on, may take for itself.
func (g *processGroup) limitMemory(bytes int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.ended:
		return nil
	default:
		return git.LimitMemory(g.pid, bytes)
	}
}

func (g *processGroup) markEnded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ended)
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
