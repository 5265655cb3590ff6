package install_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"refship/hooks/target"
)

func TestMain(m *testing.M) {
	if os.Getenv(installChildVariable) != "" {
		os.Exit(installChild())
	}
	goleak.VerifyTestMain(m)
}

var defaultTarget = target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config",
	Frontend: "files"}

func gitEnv(home string, more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org",
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

// journal is a log handler that at a step does what a test wants to happen there.
type journal struct {
	slog.Handler // to the test's output

	mu sync.Mutex
	at map[string]func()
}

func newJournal(t testing.TB) *journal {
	return &journal{
		Handler: slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}),
		at:      make(map[string]func()),
	}
}

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		j.mu.Lock()
		act := j.at[a.Value.String()]
		delete(j.at, a.Value.String())
		j.mu.Unlock()
		if act != nil {
			act()
		}
		return true
	})
	return j.Handler.Handle(ctx, r)
}

// when lets act happen once, at a step.
func (j *journal) when(step string, act func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.at[step] = act
}
