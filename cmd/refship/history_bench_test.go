package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
)

// BenchmarkHistory measures what a person waits for with 10,000 signed deploys of 20 directories: until a screen of log
// is there, and until log --path has looked at all of them.
func BenchmarkHistory(b *testing.B) {
	const deploys = 10_000
	e := fixture.StartEtcd(b, embedded.Config{Listen: "127.0.0.1:0"})
	chain.PutHistory(b, e.Client(), "/refship/site", deploys)
	log := func(lines int, args ...string) time.Duration {
		args = append([]string{"log", "--endpoints", "http://" + e.Addr(), "--namespace", "/refship/site"}, args...)
		cmd := exec.Command("refship", args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		said := bufio.NewReader(out)
		for i := range lines {
			if _, err := said.ReadString('\n'); err != nil {
				b.Fatalf("after %d lines: %v", i, err)
			}
		}
		took := time.Since(start)
		rest, err := io.Copy(io.Discard, said)
		if err := errors.Join(err, cmd.Wait()); err != nil || rest > 0 {
			b.Fatalf("%d bytes more, %v", rest, err)
		}
		return took
	}
	for name, run := range map[string]func() time.Duration{
		"screen":       func() time.Duration { return firstScreen(b, e) },
		"all":          func() time.Duration { return log(deploys) },
		"path":         func() time.Duration { return log(deploys/20+1, "--path", "dir3/file") },
		"path-commits": func() time.Duration { return log(2*deploys/20+2, "--path", "dir3/file", "--commits") },
		"contains":     func() time.Duration { return log(1, "--contains", chain.HistoryCommit(1).String()) },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				took = append(took, run())
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// firstScreen is how long it takes until a terminal of 50 lines is full.
func firstScreen(b *testing.B, e *embedded.Etcd) time.Duration {
	const lines = 50
	control, terminal := openTerminal(b, lines)
	defer control.Close()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "refship", "log", "--endpoints", "http://"+e.Addr(), "--namespace", "/refship/site",
		"--no-pager")
	cmd.Stdout = terminal
	start := time.Now()
	err := cmd.Start()
	terminal.Close()
	if err != nil {
		b.Fatal(err)
	}
	said := bufio.NewReader(control)
	for range lines {
		if _, err := said.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(start)
	cancel()
	_ = cmd.Wait() // it was killed
	return took
}

// openTerminal makes a terminal of some lines (pty(7)).
func openTerminal(b *testing.B, lines uint16) (control, terminal *os.File) {
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.Skip(err)
	}
	fd := int(control.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0),
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: lines, Col: 100})); err != nil {
		b.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		b.Fatal(err)
	}
	return control, terminal
}
