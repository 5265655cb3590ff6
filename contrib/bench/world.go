package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// world is the scratch directory of one run, and what is in it: a key, an environment that no settings of this
// machine's user reach, and the processes that were started, which end with it.
type world struct {
	dir  string
	bin  string // the directory of refship and refship-hook
	ends []func()
	say  func(format string, args ...any)
}

func newWorld(ctx context.Context, bin string, say func(string, ...any)) (*world, error) {
	dir, err := os.MkdirTemp("", "refship-bench.")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, bin: bin, say: say}
	_, err = run(w.command(ctx, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", w.in("id")))
	return w, err
}

// end stops what was started, the last one first, and removes everything.
func (w *world) end() {
	for _, end := range slices.Backward(w.ends) {
		end()
	}
	os.RemoveAll(w.dir)
}

// in gives a path in the scratch directory.
func (w *world) in(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// command makes one of this run's commands; env are further variables.
func (w *world) command(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	if name == "refship" {
		name = filepath.Join(w.bin, name)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=bench", "GIT_AUTHOR_EMAIL=bench@localhost",
		"GIT_COMMITTER_NAME=bench", "GIT_COMMITTER_EMAIL=bench@localhost",
		"TMPDIR=" + w.dir, "GOMAXPROCS=" + os.Getenv("GOMAXPROCS"),
	}, env...)
	return cmd
}

// ssh gives GIT_SSH_COMMAND for this run's key, with further options.
func (w *world) ssh(options ...string) string {
	all := append([]string{"ssh", "-F", "/dev/null", "-i", w.in("id"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"}, options...)
	return strings.Join(all, " ")
}

// outcome is a command that ended with status 0.
type outcome struct {
	took           time.Duration
	stdout, stderr string
}

// run runs a command. The error has what it said.
func run(cmd *exec.Cmd) (outcome, error) {
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	cmd.Stderr = &stderr
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if err != nil {
		return outcome{}, fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return outcome{took, stdout.String(), stderr.String()}, nil
}

// process is a server that runs until it is stopped, by SIGINT, or the world ends.
type process struct {
	pid  int
	stop func()
}

// start starts a server.
func (w *world) start(cmd *exec.Cmd, log string) (process, error) {
	file, err := os.Create(w.in(log))
	if err != nil {
		return process{}, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		return process{}, err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	w.ends = append(w.ends, stop)
	return process{cmd.Process.Pid, stop}, nil
}

// logged waits until a server's log has a line with word, and gives that line.
func (w *world) logged(ctx context.Context, log, word string) (string, error) {
	return await(ctx, 30*time.Second, "a line with "+word+" in "+log, func() (string, bool) {
		text, _ := os.ReadFile(w.in(log))
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, word) && strings.HasSuffix(line, "\n") {
				return strings.TrimSpace(line), true
			}
		}
		return "", false
	})
}

// await asks again and again until there is an answer.
func await[T any](ctx context.Context, most time.Duration, what string, ask func() (T, bool)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("waited %s for %s", most, what))
	defer cancel()
	for {
		if answer, is := ask(); is {
			return answer, nil
		}
		select {
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

// freePort gives a port that was free a moment ago, for programs that cannot choose one.
func freePort(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}
