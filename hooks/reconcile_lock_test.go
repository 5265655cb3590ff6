package hooks_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"refship/hooks/target"
)

func targetsOf(t testing.TB, dir string) []target.Target {
	t.Helper()
	targets, err := target.ReadTargets(dir)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

func readConfig(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tidy checks that nothing is left beside the config.
func tidy(t testing.TB, dir string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(dir, "config?*")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

// What a killed change left does not keep the next server's repositories from being changed.
func TestReconcileRemovesAStaleConfigLock(t *testing.T) {
	s := newSite(t, defaultTarget)
	left := []string{"config.lock", "config.refship", "config.refship.lock"}
	for _, name := range left {
		if err := os.WriteFile(filepath.Join(s.bare, name), []byte("[refship \"half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if lines, err := s.server.Reconcile(t.Context(), "config", s.bare, true); err != nil || len(lines) != 0 {
		t.Errorf("young ones, which may be in use: %q, %v", lines, err)
	}
	long := time.Now().Add(-time.Minute)
	for _, name := range left {
		if err := os.Chtimes(filepath.Join(s.bare, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if lines, err := s.server.Reconcile(t.Context(), "config", s.bare, false); err != nil || len(lines) != 0 {
		t.Errorf("not exclusive: %q, %v", lines, err)
	}
	lines, err := s.server.Reconcile(t.Context(), "config", s.bare, true)
	if err != nil || len(lines) != len(left) || lines[0] != "config: removed config.lock, which a dead push left" {
		t.Errorf("lines are %q, %v", lines, err)
	}
	tidy(t, s.bare)
	if err := target.SetTarget(t.Context(), s.bare, defaultTarget); err != nil {
		t.Error(err)
	}
	// Without the first of them the others are in nobody's way.
	if err := os.WriteFile(filepath.Join(s.bare, "config.refship.lock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := target.RemoveTarget(t.Context(), s.bare, "default"); err != nil {
		t.Error(err)
	}
	tidy(t, s.bare)
}
