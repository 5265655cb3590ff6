package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is what standard output is shown on. The zero terminal is none.
type terminal struct {
	width, height int // in columns and lines
	color         bool
}

// terminal finds out what standard output is shown on. As with git, COLUMNS counts more than the terminal's own size.
func (a *app) terminal() terminal {
	f, ok := a.stdout.(*os.File)
	if !ok || !isTerminal(f) {
		return terminal{}
	}
	t := terminal{width: 80, height: 24}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
		t.width, t.height = int(size.Col), int(size.Row)
	}
	columns, _ := a.getenv("COLUMNS")
	if n, err := strconv.ParseUint(columns, 10, 16); err == nil && n > 0 {
		t.width = int(n)
	}
	noColor, _ := a.getenv("NO_COLOR") // https://no-color.org
	kind, _ := a.getenv("TERM")
	t.color = noColor == "" && kind != "dumb"
	return t
}

// pager is the command that shows long output, as git finds it; "" if there is none.
func (a *app) pager() string {
	for _, name := range []string{"GIT_PAGER", "PAGER"} {
		command, ok := a.getenv(name)
		switch {
		case ok && (command == "" || command == "cat"):
			return ""
		case ok:
			return command
		}
	}
	if _, err := exec.LookPath("less"); err != nil {
		return ""
	}
	return "less"
}

// errPagerGone ends the work for a pager that was left.
var errPagerGone = errors.New("the pager has ended")

// page does what writes to standard output: on a terminal through a pager, unless that is off. Standard error goes
// there too, if it is a terminal. Once the pager is left there is nothing more to do.
func (a *app) page(ctx context.Context, off bool, do func(context.Context, *app, terminal) error) error {
	t := a.terminal()
	command := a.pager()
	if t == (terminal{}) || off || command == "" {
		return do(ctx, a, t)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pipe, ended, err := a.startPager(command, cancel)
	if err != nil {
		return err
	}
	paged := *a
	paged.stdout = pipe
	if isTerminal(a.stderr) {
		paged.stderr = pipe
	}
	err = do(ctx, &paged, t)
	gone := errors.Is(context.Cause(ctx), errPagerGone) || pipe.gone
	_ = pipe.file.Close() // the pager then sees the end
	<-ended
	if gone {
		return nil
	}
	return err
}

// startPager starts a pager, which reads the pipe. When it ends, it cancels the work and closes ended.
func (a *app) startPager(command string, cancel context.CancelCauseFunc) (
	pipe *pagerPipe, ended chan struct{}, err error,
) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start pager: %w", err)
	}
	cmd := exec.Command("sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = read, a.stdout, a.stderr, os.Environ()
	if _, ok := a.getenv("LESS"); !ok {
		cmd.Env = append(cmd.Env, "LESS=FRX")
	}
	if _, ok := a.getenv("LV"); !ok {
		cmd.Env = append(cmd.Env, "LV=-c")
	}
	err = cmd.Start()
	_ = read.Close() // the pager has its own
	if err != nil {
		_ = write.Close()
		return nil, nil, fmt.Errorf("start pager %s: %w", command, err)
	}
	signal.Ignore(syscall.SIGINT) // it is for the pager, which ends the work when it is left
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it shows what it gets, and its status says nothing of the chain
		cancel(errPagerGone)
	}()
	return &pagerPipe{file: write}, ended, nil
}

// pagerPipe leads to a pager. Once that has ended, what is written is gone.
type pagerPipe struct {
	file *os.File
	gone bool
}

func (p *pagerPipe) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.gone = true
		return len(b), nil
	}
	return n, err
}
