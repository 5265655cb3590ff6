package repos

import (
	"os"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
)

func TestCheckOwner(t *testing.T) {
	dir := t.TempDir()
	if err := checkOwner("config", dir, os.Geteuid()); err != nil {
		t.Error(err)
	}
	fixture.WantFault(t, fault.Failed, checkOwner("config", dir, os.Geteuid()+4711),
		"repository config belongs to the account "+account(os.Geteuid())+", and the server runs as ", "chown -R ")
}
