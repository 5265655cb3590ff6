package gitserver

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test program is some other programs, too. Which one, REFSHIP_TEST_PROGRAM says.
const programVar = "REFSHIP_TEST_PROGRAM"

// isProgram runs the program that the environment names.
func isProgram() bool {
	run := map[string]func([]string) error{"throttle": throttle, "measure": measure}[os.Getenv(programVar)]
	if run == nil {
		return false
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// program is a command line for a shell that runs one of them.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "env " + programVar + "=" + name + " " + self
}

// throttle copies standard input to standard output with a pause of DURATION after each BYTES: a slow line.
func throttle(args []string) error {
	chunk, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	buf := make([]byte, chunk)
	for rest := chunk; ; {
		n, err := os.Stdin.Read(buf[:rest])
		if _, err := os.Stdout.Write(buf[:n]); err != nil {
			return err
		}
		if rest -= n; rest == 0 {
			<-time.After(pause)
			rest = chunk
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// measure runs COMMAND and appends to FILE how much memory the largest of its processes took (ru_maxrss of
// getrusage(2)). A process that Go starts counts what Go itself has until it executes its program; this one has
// little.
func measure(args []string) error {
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, programVar) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	runErr := cmd.Run()
	f, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return fmt.Errorf("no resource usage of %s", args[1])
	}
	if _, err := fmt.Fprintf(f, "%d %s\n", usage.Maxrss<<10, strings.Join(args[2:], " ")); err != nil {
		return err
	}
	return runErr
}

// measuredGit makes a git that measures itself, for a server that is started after. The texts are what it said so far.
func measuredGit(t *testing.T) (said func() string) {
	t.Helper()
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	out := filepath.Join(bin, "memory")
	script := "#!/bin/sh\nexec " + program(t, "measure") + " " + out + " " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return func() string {
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}
