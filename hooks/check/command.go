package check

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"refship/deploy/text"
)

const (
	// strayOutput is how long output is waited for from a process that the end of the check did not find.
	strayOutput = time.Second

	maxLine   = 2000 // bytes of a line that are told
	maxLines  = 1000 // lines that are told as they come
	lastLines = 50   // of the lines after those, told at the end: there it says what failed
)

// errTooLong ends a check whose time is over.
var errTooLong = errors.New("the check took too long")

// command is a running check: a shell in a session of its own, and what it started.
type command struct {
	cmd    *exec.Cmd
	stray  string        // how the variable begins by which processes are found that left the group
	output *os.File      // the end of the pipe to read from
	lines  chan string   // closed when no process has the other end of the pipe open
	exited chan struct{} // closed when the shell has ended; it is not waited for yet
	reap   chan struct{} // closed when nothing has to be sent to its process group any more
	done   chan error    // how it ended, once it was waited for
}

// startCommand starts sh -c line. Standard output and standard error are one pipe.
func startCommand(line, dir string, env []string, stray string) (*command, error) {
	if err := keepFiles(); err != nil {
		return nil, err
	}
	c := &command{
		cmd: exec.Command("sh", "-c", line), stray: stray,
		lines: make(chan string), exited: make(chan struct{}), reap: make(chan struct{}), done: make(chan error, 1),
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.output = read
	c.cmd.Dir, c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = dir, env, write, write
	c.cmd.SysProcAttr = processAttr()
	started := make(chan error, 1)
	go c.run(started)
	err = <-started
	_ = write.Close() // the command has its own
	if err != nil {
		_ = read.Close() // nothing was written
		return nil, err
	}
	go func() {
		defer close(c.lines)
		readLines(read, func(line string) { c.lines <- line })
	}()
	return c, nil
}

// run starts the shell and waits for it. The kernel's "kill me when my parent is gone" looks at the thread that
// forked, so that thread has to live on.
func (c *command) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = awaitEnd(c.cmd.Process.Pid)
	close(c.exited)
	<-c.reap
	if e := c.cmd.Wait(); e != nil {
		err = e
	}
	c.done <- err
}

// signal reaches the whole process group.
func (c *command) signal(sig syscall.Signal) {
	_ = syscall.Kill(-c.cmd.Process.Pid, sig) // the only error is that no process is left
}

// watch tells what the command writes until it has ended, and ends it when ctx or its time does. Whatever it left
// running is killed then. The error is the command's own, or the cause of its end.
func (c *command) watch(ctx context.Context, limit, grace, every time.Duration, tell func(string)) error {
	out := &output{tell: tell, since: time.Now()}
	tick := time.NewTicker(every)
	defer tick.Stop()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var cause error
	var kill <-chan time.Time
	ended, stop, over, lines, exited := false, ctx.Done(), timer.C, c.lines, c.exited
	end := func(why error) {
		cause, stop, over, kill = why, nil, nil, time.After(grace)
		c.signal(syscall.SIGTERM)
	}
	// Once told to end, those that the shell leaves behind have their time as well: as long as one of them can write.
	for !ended && (exited != nil || cause != nil && lines != nil) {
		select {
		case line, more := <-lines:
			if !more {
				lines = nil
				continue
			}
			out.line(line)
		case <-exited:
			exited = nil
		case <-tick.C:
			out.tick()
		case <-stop:
			end(context.Cause(ctx))
		case <-over:
			end(errTooLong)
		case <-kill:
			ended = true
		}
	}
	err := c.finish(out)
	if cause != nil {
		err = cause
	}
	return err
}

// finish kills all that is left of the command, and tells the end of its output.
func (c *command) finish(out *output) error {
	c.signal(syscall.SIGKILL)
	close(c.reap)
	err := <-c.done
	strays := killStrays(c.stray)
	_ = c.output.SetReadDeadline(time.Now().Add(strayOutput)) // pipes have deadlines
	for line := range c.lines {
		out.line(line)
	}
	out.end()
	_ = c.output.Close() // it was read
	if strays != nil {
		out.tell("warning: the check left something running: " + strays.Error())
	}
	return err
}

// readLines gives the lines of r without their ends, as long as it can be read; long ones are cut.
func readLines(r io.Reader, each func(string)) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		piece, err := in.ReadSlice('\n')
		line := string(piece)
		cut := 0
		for errors.Is(err, bufio.ErrBufferFull) {
			piece, err = in.ReadSlice('\n')
			cut += len(bytes.TrimSuffix(piece, []byte{'\n'}))
		}
		if cut > 0 {
			line += fmt.Sprintf("… (%d bytes more)", cut)
		}
		if line != "" {
			each(strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return
		}
	}
}

// output tells a check's output, and keeps it in bounds.
type output struct {
	tell   func(string)
	since  time.Time
	told   bool     // something was, since the last tick
	lines  int      // so far
	latest []string // of those that were not told
}

// line tells one line, in which nothing can do anything to a terminal.
func (o *output) line(said string) {
	said = "| " + text.Printable(strings.ReplaceAll(said, "\t", "    "))
	if o.lines++; o.lines <= maxLines {
		o.tell(said)
		o.told = true
		return
	}
	if o.lines == maxLines+1 {
		o.tell(fmt.Sprintf("more than %d lines: of those that follow, the last %d are told at the end", maxLines,
			lastLines))
	}
	if len(o.latest) == lastLines {
		o.latest = append(o.latest[:0], o.latest[1:]...)
	}
	o.latest = append(o.latest, said)
}

// tick says that the command is still running where it says nothing itself.
func (o *output) tick() {
	if !o.told {
		o.tell(fmt.Sprintf("the check has been running for %s", time.Since(o.since).Round(time.Second)))
	}
	o.told = false
}

// end tells the last lines.
func (o *output) end() {
	if left := o.lines - maxLines - len(o.latest); left > 0 {
		o.tell("… " + text.Count(left, "line") + " left out")
	}
	for _, said := range o.latest {
		o.tell(said)
	}
}
