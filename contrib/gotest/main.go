// Gotest runs "go test" with its arguments and says at the end which tests were skipped, and why: go test itself hides
// that without -v, and with -v it shows all else, too. Everything else is as go test has it: what is printed of each
// package, and the exit status.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

func main() {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt) // go test gets it as well, ends, and says so
	status, err := run(os.Stdout, os.Stderr, "", os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
		status = 1
	}
	os.Exit(status)
}

// run runs go test in a directory, and gives its exit status.
func run(stdout, stderr io.Writer, dir string, args ...string) (status int, err error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir, cmd.Stderr = dir, stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r := report{to: stdout, packages: make(map[string][]event)}
	readErr := r.read(events)
	err = cmd.Wait()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		status, err = failed.ExitCode(), nil
	}
	r.summary()
	return status, errors.Join(readErr, err)
}

// event is one line of go test -json ("go doc test2json").
type event struct {
	Action  string
	Package string
	Test    string // "" for what is about the package
	Output  string
}

// report is what is printed of the events.
type report struct {
	to       io.Writer
	packages map[string][]event // what each running package has printed, but for tests that have passed
	skipped  []string
}

func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(r.to, "%s", line) // it is not about a test
			} else {
				r.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.to, e.Output)
	case e.Action == "output":
		if !strings.HasPrefix(e.Output, "=== ") { // -json implies -v, which says what begins
			r.packages[e.Package] = append(r.packages[e.Package], e)
		}
	case e.Test == "" && (e.Action == "pass" || e.Action == "skip" || e.Action == "fail"):
		r.end(e)
	case e.Action == "pass":
		r.take(e)
	case e.Action == "skip":
		r.skipped = append(r.skipped, e.Package+" "+e.Test+": "+reason(r.take(e)))
	}
}

// take takes out what a test has printed.
func (r *report) take(e event) (printed []string) {
	var others []event
	for _, o := range r.packages[e.Package] {
		if o.Test == e.Test {
			printed = append(printed, o.Output)
		} else {
			others = append(others, o)
		}
	}
	r.packages[e.Package] = others
	return printed
}

// end prints what is left of a package: its last line where it is fine, else all.
func (r *report) end(e event) {
	left := r.packages[e.Package]
	delete(r.packages, e.Package)
	if e.Action != "fail" && len(left) > 0 {
		left = left[len(left)-1:]
	}
	for _, o := range left {
		fmt.Fprint(r.to, o.Output)
	}
}

// reason is what a test said last before it was skipped.
func reason(printed []string) string {
	said := "no reason"
	for _, line := range printed {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--- SKIP") {
			said = line
		}
	}
	return said
}

func (r *report) summary() {
	for _, left := range r.packages { // of a package that did not end
		for _, o := range left {
			fmt.Fprint(r.to, o.Output)
		}
	}
	if len(r.skipped) == 0 {
		fmt.Fprintln(r.to, "no test was skipped")
		return
	}
	fmt.Fprintf(r.to, "skipped: %d\n", len(r.skipped))
	for _, line := range r.skipped {
		fmt.Fprintln(r.to, "  "+line)
	}
}
