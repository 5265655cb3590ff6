package target_test

import (
	"os"
	"path/filepath"
	"testing"

	"refship/deploy/record"
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

var defaultTarget = target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config",
	Frontend: record.Files}

func files(name, ref, path string) target.Target {
	return target.Target{Name: name, Ref: ref, Path: path, Namespace: record.Namespace("/refship/" + name),
		Frontend: record.Files}
}
