package gitserver

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"testing"
	"time"
)

// The test program is some other programs, too. Which one, REFSHIP_TEST_PROGRAM says.
const programVar = "REFSHIP_TEST_PROGRAM"

// isProgram runs the program that the environment names.
func isProgram() bool {
	run := map[string]func([]string) error{"throttle": throttle}[os.Getenv(programVar)]
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
