package hooks_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks"
)

// TestGitMemory: a file that git puts together in more memory than belongs to one deploy is read with the memory of
// all; what does not fit then is refused as too large.
func TestGitMemory(t *testing.T) {
	t.Parallel()
	const mib = 70
	s := newSite(t, defaultTarget)
	pack, commit := fixture.DeltaBomb(mib)
	index := exec.Command("git", "index-pack", "--stdin")
	index.Dir, index.Stdin, index.Env = s.bare, bytes.NewReader(pack), fixture.GitEnv(s.dir)
	if out, err := index.CombinedOutput(); err != nil {
		t.Fatalf("index-pack: %v: %s", err, out)
	}
	s.git(s.bare, "update-ref", "refs/heads/main", commit)
	deployWith := func(memory int64) error {
		cfg := s.config()
		cfg.GitMemory = memory
		return hooks.NewEngine(cfg).Deploy(t.Context(), t.Context(), "config", s.bare, "",
			record.Pusher{Name: "ops", Via: "ssh"}, func(string) {})
	}
	err := deployWith(64 << 20)
	// The words are judged here: no script can give serve so little --git-memory.
	fixture.WantFault(t, fault.Refused, err, "git needs more than 64 MiB of memory to read what is to be deployed",
		string(hooks.ReasonMemory))
	if at, id := s.head("/refship/config"); id != 0 {
		t.Fatalf("deploy %d: %s", id, at)
	}
	if err := deployWith(192 << 20); err != nil { // three at a time, of 64 MiB each
		t.Fatal(err)
	}
	if !strings.Contains(s.journal.Text(), "git needs more memory") {
		t.Error("it was read with the memory of one")
	}
	if at, id := s.head("/refship/config"); fmt.Sprint(at) != commit || id != 1 {
		t.Errorf("chain is at %d %s", id, at)
	}
}
