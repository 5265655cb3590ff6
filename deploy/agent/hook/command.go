package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"refship/deploy/record"
	"refship/deploy/text"
)

const (
	// grace is how long a command that is told to end may take to end.
	grace = 5 * time.Second
	// maxLine is how much of a line is told, in bytes.
	maxLine = 2000
)

// Release is what a hook is about.
type Release struct {
	ID       record.ID
	Hash     record.Hash
	Previous record.Hash // of the release that ran before; "" if none did
	Chain    record.Namespace
	Dir      string // of the release
}

func (r *Release) env() []string {
	return []string{
		"HASH=" + string(r.Hash), "GITSYNC_HASH=" + string(r.Hash), "PREV_HASH=" + string(r.Previous),
		"ID=" + r.ID.String(), "CHAIN=" + string(r.Chain),
	}
}

// Command is a command line of the operator's.
type Command struct {
	Line    string        // for sh -c
	Timeout time.Duration // 0: only the context ends it
	Env     []string      // NAME=VALUE
	Tell    func(line string)
}

// Run runs the command for a release and waits for its end. The error says what its last line was.
func (c *Command) Run(ctx context.Context, r *Release) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("it took longer than %s", c.Timeout))
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", c.Line)
	cmd.Dir = r.Dir
	cmd.Env = append(append([]string{}, c.Env...), append(r.env(), "PWD="+r.Dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var kill *time.Timer
	cmd.Cancel = func() error {
		kill = time.AfterFunc(grace, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = 2 * grace // for those that have its output open: the group lives as long as one of them does
	out := &lines{tell: c.Tell}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if kill != nil {
		kill.Stop()
	}
	out.end()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, exec.ErrWaitDelay): // it has ended, and left something in the background that holds its output
		return nil
	case err == nil:
		return nil
	}
	if out.last != "" {
		return fmt.Errorf("%w: %s", err, out.last)
	}
	return err
}

// lines tells what is written to it, line by line, in which nothing can do anything to a terminal.
type lines struct {
	tell func(string)

	mu   sync.Mutex
	held []byte
	last string // that is not empty
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		if room := maxLine - len(l.held); room > 0 {
			l.held = append(l.held, line[:min(room, len(line))]...)
		}
		if whole {
			l.line()
		}
		rest = after
	}
	return len(p), nil
}

func (l *lines) line() {
	said := text.Printable(strings.TrimRight(strings.ReplaceAll(string(l.held), "\t", "    "), "\r "))
	l.held = l.held[:0]
	if said != "" {
		l.last = said
		l.tell(said)
	}
}

// end tells a last line without an end.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line()
}

// Environ is this process's environment for commands: without the variables of refship itself, which may hold
// passwords.
func Environ() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "REFSHIP_") {
			env = append(env, variable)
		}
	}
	return env
}
