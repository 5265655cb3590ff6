package hooks_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// hookBinary is refship-hook, built for these tests.
var hookBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hook")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	hookBinary = filepath.Join(dir, "refship-hook")
	out, err := exec.Command("go", "build", "-o", hookBinary, "refship/cmd/refship-hook").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build refship-hook: %v\n%s", err, out)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(dir)
		os.Exit(status)
	}))
}

// journal is the log handler of a site: it keeps lines, and at a failure point does what a test wants to happen there.
type journal struct {
	slog.Handler // to the test's output

	mu    sync.Mutex
	at    map[string]func()
	steps []string
	lines []map[string]any // of level info and above
}

func newJournal(t testing.TB) *journal {
	return &journal{
		Handler: slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}),
		at:      make(map[string]func()),
	}
}

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	attrs := make(map[string]any)
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.Any()
		return true
	})
	if r.Level >= slog.LevelInfo {
		attrs["msg"] = r.Message
		j.mu.Lock()
		j.lines = append(j.lines, attrs)
		j.mu.Unlock()
	}
	if r.Message == "step" {
		name := attrs["at"].(string)
		j.mu.Lock()
		j.steps = append(j.steps, name)
		act := j.at[name]
		delete(j.at, name)
		j.mu.Unlock()
		if act != nil {
			act()
		}
	}
	return j.Handler.Handle(ctx, r)
}

// Without these, a derived logger would pass by Handle.
func (j *journal) WithAttrs([]slog.Attr) slog.Handler { return j }
func (j *journal) WithGroup(string) slog.Handler      { return j }

// when lets act happen once, at a failure point.
func (j *journal) when(step string, act func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at[step] = act
}

func (j *journal) passed() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.steps...)
}

// pushes are the log's lines about pushes.
func (j *journal) pushes() []map[string]any { return j.about("push") }

// about are the log's lines with this message.
func (j *journal) about(msg string) []map[string]any {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []map[string]any
	for _, l := range j.lines {
		if l["msg"] == msg {
			found = append(found, l)
		}
	}
	return found
}
