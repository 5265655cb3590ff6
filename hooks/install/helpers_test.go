package install_test

import (
	"os"
	"testing"

	"refship/deploy/fixture"
	"refship/hooks/target"
)

func TestMain(m *testing.M) {
	if os.Getenv(installChildVariable) != "" {
		os.Exit(installChild())
	}
	fixture.Main(m)
}

var defaultTarget = target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/refship/config",
	Frontend: "files"}

func targetsOf(t testing.TB, dir string) []target.Target {
	t.Helper()
	targets, err := target.ReadTargets(dir)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}
