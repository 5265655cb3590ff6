package gitserver

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// The test program is some other programs, too. Which one, REFSHIP_TEST_PROGRAM says.
const programVar = "REFSHIP_TEST_PROGRAM"

// isProgram runs the program that the environment names.
func isProgram() bool {
	run := map[string]func([]string) error{"throttle": throttle, "idle": idle, "measure": measure}[os.Getenv(programVar)]
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

// idle holds connections to ADDRESS open until its standard input ends: N that authenticated with the private key in FILE,
// N that are at authenticating, N that have sent nothing.
func idle(args []string) error {
	address, file := args[0], args[1]
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	forever, at := make(chan struct{}), make(chan error)
	var silent []net.Conn // kept, or the garbage collector would close them
	for range n {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		silent = append(silent, nc)
		if _, err := ssh.Dial("tcp", address, idleConfig(ssh.PublicKeys(signer))); err != nil {
			return err
		}
		go func() {
			_, err := ssh.Dial("tcp", address, idleConfig(ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
				at <- nil
				<-forever
				return nil, nil
			})))
			at <- err
		}()
		if err := <-at; err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(silent)
	return err
}

func idleConfig(auth ssh.AuthMethod) *ssh.ClientConfig {
	return &ssh.ClientConfig{User: "git", Auth: []ssh.AuthMethod{auth}, HostKeyCallback: ssh.InsecureIgnoreHostKey()}
}

// measure runs COMMAND and appends to FILE how much memory the largest of its processes took (ru_maxrss of getrusage(2)).
// A process that Go starts counts what Go itself has until it executes its program; this one has little.
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
