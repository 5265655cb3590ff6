package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/gitserver"
)

func TestLimitFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args  []string
		want  gitserver.Limits
		file  size
		check time.Duration
	}{
		{
			nil,
			gitserver.Limits{Connections: 1000, ConnectionsPerAddress: 100, LoginGrace: time.Minute, MaxPack: 1 << 30},
			512 << 20, 5 * time.Minute,
		},
		{
			[]string{
				"--max-connections=2000", "--max-connections-per-address=1", "--login-grace=1.5s",
				"--max-pack-size=1.5 GiB", "--max-file-size=9223372036854774784", "--check-limit=90s", "--git-memory=2GiB",
			},
			gitserver.Limits{Connections: 2000, ConnectionsPerAddress: 1, LoginGrace: 1500 * time.Millisecond, MaxPack: 3 << 29,
				GitMemory: 2 << 30},
			1<<63 - 1024, 90 * time.Second,
		},
	} {
		parser, err := newParser(&app{getenv: func(string) (string, bool) { return "", false }}, &cli{})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.Parse(append([]string{"serve"}, c.args...))
		if err != nil {
			t.Fatal(err)
		}
		serve := parsed.Selected().Target.Addr().Interface().(*serveCmd)
		if c.want.GitMemory == 0 { // half of this machine's
			if c.want.GitMemory = serve.limits().GitMemory; c.want.GitMemory < 288<<20 {
				t.Errorf("%q: git has %d bytes of memory", c.args, c.want.GitMemory)
			}
		}
		if diff := cmp.Diff(c.want, serve.limits()); diff != "" {
			t.Errorf("%q: %s", c.args, diff)
		}
		if serve.MaxFileSize != c.file {
			t.Errorf("%q: the largest file has %d bytes, want %d", c.args, serve.MaxFileSize, c.file)
		}
		if got := time.Duration(serve.CheckLimit); got != c.check {
			t.Errorf("%q: a check may take %s, want %s", c.args, got, c.check)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]size{
		"1": 1, "1048576": 1 << 20, "100MiB": 100 << 20, "1GiB": 1 << 30, "1 GiB": 1 << 30, "0.5KiB": 512, "2gib": 2 << 30,
		"5MB": 5_000_000,
	} {
		var got size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "0", "0MiB", "-1", "0.1", "many", "MiB", "1 parsec", "1..5GiB", "9223372036854775808", "8EiB", "99999999999EiB",
		"1e3", "١KiB", "NaN", "1\x00",
	} {
		got := size(7)
		if err := got.UnmarshalText([]byte(text)); err == nil || got != 7 {
			t.Errorf("%q: %d, and no error", text, got)
		}
	}
}
