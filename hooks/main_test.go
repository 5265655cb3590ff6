package hooks_test

import (
	"fmt"
	"os"
	"testing"

	"refship/deploy/fixture"
)

// hookBinary is refship-hook, built for these tests.
var hookBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hook")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if hookBinary, err = fixture.BuildHook(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fixture.Main(m, func() { os.RemoveAll(dir) })
}
