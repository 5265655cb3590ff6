package install_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"refship/deploy/record"
	"refship/hooks/target"
)

func TestMain(m *testing.M) {
	if os.Getenv(installChildVariable) != "" {
		os.Exit(installChild())
	}
	goleak.VerifyTestMain(m)
}

var defaultTarget = target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config", Frontend: record.Files}

func files(name, ref, path string) target.Target {
	return target.Target{Name: name, Ref: ref, Path: path, Namespace: record.Namespace("/refship/" + name), Frontend: record.Files}
}

func gitEnv(home string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
	}, more...)
}

func targetsOf(t testing.TB, dir string) []target.Target {
	t.Helper()
	targets, err := target.ReadTargets(dir)
	if err != nil {
		t.Fatal(err)
	}
	return targets
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
