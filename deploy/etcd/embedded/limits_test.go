package embedded_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"refship/deploy/etcd/embedded"
	"refship/deploy/fixture"
)

// Limits under which etcd would panic, now or later, are told before it starts.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, limit string
		bytes       int
		want        string
	}{
		{"a file less than a part of the log", "file", 20 << 20,
			`kind 6: start etcd in .*: a file of this process may have 20 MiB \(ulimit -f\), ` +
				`and etcd's database may grow to 8.8 GiB`},
		{"a file less than the database may become", "file", 1 << 30, `kind 6: .* may have 1 GiB \(ulimit -f\)`},
		{"a file as large as the database may become", "file", 9 << 30, "started"},
		{"memory for less than the database's file", "memory", 8 << 30,
			"kind 6: start etcd in .*: etcd needs 9.2 GiB of address space, .*: cannot allocate memory"},
		{"memory for the database's file", "memory", 14 << 30, "started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			child := startChild(t, "limited", fixture.ShortDir(t), c.limit, strconv.Itoa(c.bytes))
			if said := child.line(t, ""); !regexp.MustCompile("^" + c.want).MatchString(said) {
				t.Errorf("the start said %q, want %q", said, c.want)
			}
			if err := child.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A start that hangs in etcd ends all the same: here the file that etcd writes first takes nothing.
func TestStartHangs(t *testing.T) {
	t.Parallel()
	f := newFiles(t, 1)
	for _, name := range []string{"member/.touch", "member/wal/.touch"} {
		f.must(unix.Mkfifo(f.in(name), 0o600))
	}
	child := startChild(t, "hangs", f.dir)
	began := time.Now()
	if said, want := child.line(t, ""), "kind 6: start etcd in "+f.dir+": told to end"; said != want {
		t.Errorf("the start said %q, want %q", said, want)
	}
	if took := time.Since(began); took > 2*time.Minute {
		t.Errorf("the start took %s", took)
	}
}

func TestStartLimit(t *testing.T) {
	for size, want := range map[int64]time.Duration{
		0: 30 * time.Second, 20 << 20: 31 * time.Second, 8 << 30: 30*time.Second + 409*time.Second,
	} {
		if got := embedded.StartLimit(size); got != want {
			t.Errorf("a database of %d bytes has %s to start, want %s", size, got, want)
		}
	}
}
