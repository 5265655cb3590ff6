package agent_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A node links no etcd server, no SSH server, no git, and nothing that receives a push.
func TestLinks(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "refship/deploy/agent").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	for _, pkg := range linked {
		for _, heavy := range []string{
			"go.etcd.io/etcd/server", "go.etcd.io/bbolt", "go.etcd.io/raft", "github.com/gliderlabs/ssh",
			"refship/gitserver", "refship/hooks", "refship/deploy/etcd/embedded", "refship/deploy/git",
		} {
			if pkg == heavy || strings.HasPrefix(pkg, heavy+"/") {
				t.Errorf("a node links %s", pkg)
			}
		}
	}
	if !slices.Contains(linked, "refship/deploy/store") {
		t.Errorf("a node links %q", linked)
	}
}
