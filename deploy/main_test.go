package deploy_test

import (
	"flag"
	"testing"

	"refship/deploy/fixture"
)

// What is set here holds before the command line is read: make torture draws 30 times as many.
func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "10")
	_ = flag.Set("test.parallel", "4") // most tests wait: for git, etcd, a disk, a lease that runs out
	fixture.Main(m)
}
