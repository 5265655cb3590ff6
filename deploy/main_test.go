package deploy_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// The race detector makes a draw several times as dear; what it is there for shows in a few.
func TestMain(m *testing.M) {
	if race {
		_ = flag.Set("rapid.checks", "30") // before -rapid.checks of the command line is read
	}
	goleak.VerifyTestMain(m)
}
