package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
)

func TestExitCode(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("something"), 1},
		{context.Canceled, 1},
		{fmt.Errorf("%w: %w", etcd.ErrUnreachable, context.Canceled), 1},
		{usagef("wrong"), 2},
		{fmt.Errorf("publish: %w", &deploy.ConflictError{Head: &record.Deploy{}}), 3},
		{errors.Join(errors.New("a"), fault.New(fault.Conflict, "locked", "")), 3},
		{&fault.Error{Kind: fault.Refused, What: "no"}, 4},
		{fmt.Errorf("dial: %w", etcd.ErrDenied), 4},
		{fault.New(fault.Corrupt, "w", ""), 5},
		{fmt.Errorf("read: %w", etcd.ErrUnreachable), 6},
		{fmt.Errorf("write: %w", etcd.ErrFull), 6},
	} {
		if got := exitCode(test.err); got != test.want {
			t.Errorf("exitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}
}

func TestProgressOnTerminalAndInLog(t *testing.T) {
	half := text.Progress{Step: "writing", Files: 3, FilesTotal: 6, Bytes: 512, BytesTotal: 1024}
	done := text.Progress{Step: "writing", Files: 6, Bytes: 2048}
	synctest.Test(t, func(t *testing.T) {
		var terminal, log strings.Builder
		bars := []*progressBar{newProgressBar(&terminal, time.Now), newProgressBar(&log, time.Now)}
		bars[0].terminal, bars[0].interval = true, terminalInterval
		bars[0].next = time.Now()
		for _, bar := range bars {
			bar.update(half)
		}
		time.Sleep(logInterval)
		for _, bar := range bars {
			bar.update(done)
			bar.update(half) // too soon
			bar.clear()
		}
		time.Sleep(logInterval)
		bars[1].update(half)
		line := "writing [##########          ] 50%, 3 of 6 files, 512 B"
		want := "\r" + line + "\rwriting 6 files, 2 KiB" + strings.Repeat(" ", len(line)-len("writing 6 files, 2 KiB")) +
			"\r" + strings.Repeat(" ", len("writing 6 files, 2 KiB")) + "\r"
		if terminal.String() != want {
			t.Errorf("on a terminal:\n%q, want\n%q", terminal.String(), want)
		}
		if want := "refship: writing 6 files, 2 KiB\nrefship: writing 50%, 3 of 6 files, 512 B\n"; log.String() != want {
			t.Errorf("in a log: %q, want %q", log.String(), want)
		}
	})
}

func TestDataDirDefault(t *testing.T) {
	for _, test := range []struct {
		flag    string
		env     map[string]string
		want    string
		implied bool
	}{
		{"", map[string]string{"HOME": "/home/ann"}, "/home/ann/.local/share/refship", true},
		{"", map[string]string{"HOME": "/home/ann", "XDG_DATA_HOME": "/xdg"}, "/xdg/refship", true},
		{"", map[string]string{"HOME": "/home/ann", "XDG_DATA_HOME": "relative"}, "/home/ann/.local/share/refship", true},
		{"", map[string]string{"HOME": "/home/ann", "STATE_DIRECTORY": "/var/lib/refship:/var/lib/more"}, "/var/lib/refship",
			false},
		{"", map[string]string{"STATE_DIRECTORY": "/var/lib/refship"}, "/var/lib/refship", false},
		{"/data", map[string]string{"STATE_DIRECTORY": "/var/lib/refship"}, "/data", false},
		{"/home/ann/.local/share/refship/", map[string]string{"HOME": "/home/ann"}, "/home/ann/.local/share/refship", true},
	} {
		a := &app{getenv: func(name string) (string, bool) { value, ok := test.env[name]; return value, ok }}
		dir, err := dataFlag{DataDir: test.flag}.dir(a)
		if err != nil || dir.path != test.want || dir.implied != test.implied {
			t.Errorf("%q, %v: got %+v, %v; want %s, %v", test.flag, test.env, dir, err, test.want, test.implied)
		}
	}
	nothing := &app{getenv: func(string) (string, bool) { return "", false }}
	if _, err := (dataFlag{}).dir(nothing); !fault.Is(err, fault.Usage) {
		t.Errorf("without a home: %v", err)
	}
}

func TestDataDirOfAnotherUserIsNotWrittenTo(t *testing.T) {
	dir := dataDir{path: string(filepath.Separator)} // root's
	if os.Geteuid() == 0 {
		dir.path = t.TempDir()
		if err := os.Chown(dir.path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.checkOwner(); err == nil {
		t.Errorf("got %v", err)
	}
	if err := (dataDir{path: filepath.Join(t.TempDir(), "none")}).checkOwner(); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestDataDirIsForItsOwnerOnly(t *testing.T) {
	dir := dataDir{path: filepath.Join(t.TempDir(), "data")}
	if err := dir.prepare(&app{stderr: io.Discard}); err != nil {
		t.Fatal(err)
	}
	unlock, err := dir.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := dir.lock(); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second lock: %v", err)
	}
	for _, path := range []string{dir.path, filepath.Join(dir.path, "keys"), dir.etcd(), dir.run(), dir.repos().Path} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	if err := os.Chmod(dir.path, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := dir.prepare(&app{stderr: io.Discard}); err == nil {
		t.Error("a directory that others may write to is taken")
	}
}
