package gitserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"refship/deploy/text"
)

// gitTool is the system's git.
type gitTool struct {
	path       string
	searchPath string // PATH
	home       string // an empty private directory
	memory     uint64 // that one process may take, in bytes
}

// maxMemory bounds the memory that one git process takes for itself, so that a few kilobytes which unpack to gigabytes
// (git puts together a commit, a tree, and whatever comes as a delta in memory) cost one process and not the server. A
// stock git sends no deltas of files over 512 MiB (core.bigFileThreshold); for one of that size git needs two such pieces.
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

// findGit looks git up in PATH and checks that it is new enough. dir is where the empty home directory goes.
func findGit(ctx context.Context, dir string) (*gitTool, error) {
	p, err := exec.LookPath("git")
	if err != nil {
		return nil, &usageError{what: "git is not in PATH", remedy: "install git 2.36 or newer"}
	}
	if p, err = filepath.Abs(p); err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	// Nothing that a person's home says may change what the server does, so git gets one where nothing is.
	home, err := filepath.Abs(filepath.Join(dir, ".home"))
	if err != nil {
		return nil, fmt.Errorf("find git's home: %w", err)
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("make git's home: %w", err)
	}
	g := &gitTool{path: p, searchPath: os.Getenv("PATH"), home: home, memory: maxMemory}
	out, err := g.output(ctx, "version")
	if err != nil {
		return nil, err
	}
	if err := checkVersion(out); err != nil {
		return nil, err
	}
	return g, nil
}

var versionText = regexp.MustCompile(`^git version (\d+)\.(\d+)`)

// checkVersion wants git 2.36, the first with core.fsync.
func checkVersion(out string) error {
	out = strings.TrimSpace(out)
	m := versionText.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("read git's version: %s", text.Mention(out))
	}
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("read git's version: %w", err)
	}
	if major < 2 || (major == 2 && minor < 36) {
		return &usageError{
			what:   fmt.Sprintf("%s is too old: it cannot sync what it received", out),
			remedy: "install git 2.36 or newer",
		}
	}
	return nil
}

// env is the whole environment of a git process: nothing of the server's own goes in but PATH. Replacement objects
// (git-replace(1)) are refs that anybody who may push can push; git must not read one object for another because of them.
func (g *gitTool) env(more ...string) []string {
	return append([]string{
		"PATH=" + g.searchPath,
		"HOME=" + g.home,
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_NO_REPLACE_OBJECTS=1",
	}, more...)
}

// output runs a short git command and gives its standard output.
func (g *gitTool) output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Env = g.env()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run git %s: %w: %s", args[0], err, text.Mention(strings.TrimSpace(stderr.String())))
	}
	return string(out), nil
}

// gitRun is one git process that talks to a client.
type gitRun struct {
	args    []string // after memorySettings
	env     []string // besides gitTool.env
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	started func()
}

// killAfter is how long git has to remove its lock files when it is told to end.
const killAfter = 2 * time.Second

// run runs git until it ends. If ctx ends first, git and what it started are told to end, then killed. Git dies with
// this process. The copying from stdin may go on after run: it ends with the reader.
func (g *gitTool) run(ctx context.Context, r gitRun, copying *sync.WaitGroup) (input, error) {
	cmd := exec.Command(g.path, append(memorySettings(), r.args...)...)
	cmd.Dir = g.home
	cmd.Env = g.env(r.env...)
	cmd.Stdout, cmd.Stderr = r.stdout, r.stderr
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
	if err := limitMemory(cmd.Process.Pid, g.memory); err != nil {
		return input{}, errors.Join(fmt.Errorf("limit git's memory: %w", err), stdin.Close(), cmd.Process.Kill(), cmd.Wait())
	}
	r.started()
	in := &countingReader{r: r.stdin}
	copying.Go(func() {
		// Neither side's error matters here: a client that is gone is an end of input for git, and a git that has
		// ended shows in its exit status.
		_, _ = io.CopyBuffer(struct{ io.Writer }{stdin}, in, make([]byte, 64<<10))
		_ = stdin.Close()
	})
	end := newEnding(cmd.Process.Pid)
	stop := context.AfterFunc(ctx, end.begin)
	err = cmd.Wait()
	stop()
	end.over()
	return in.sofar(), err
}

// ending ends a process group in two steps.
type ending struct {
	pid  int
	mu   sync.Mutex
	done chan struct{} // closed when the process was waited for
}

func newEnding(pid int) *ending { return &ending{pid: pid, done: make(chan struct{})} }

func (e *ending) begin() {
	e.signal(syscall.SIGTERM)
	t := time.NewTimer(killAfter)
	defer t.Stop()
	select {
	case <-e.done:
	case <-t.C:
		e.signal(syscall.SIGKILL)
	}
}

// signal reaches the whole group, but never one that got the same number later.
func (e *ending) signal(sig syscall.Signal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.done:
	default:
		_ = syscall.Kill(-e.pid, sig) // the only error is that nobody is left
	}
}

func (e *ending) over() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.done)
}

// input is what a client sent to git.
type input struct {
	bytes int64
	first [4]byte // of them
	ended bool    // the client's input was at its end before git was
}

// countingReader takes down what git was given.
type countingReader struct {
	r  io.Reader
	mu sync.Mutex
	in input
}

func (c *countingReader) Read(p []byte) (int, error) {
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

func (c *countingReader) sofar() input {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.in
}
