package git_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
)

// No git is started where it would wait for ever for a file of the repository.
func TestNoGitWaitsForAFIFO(t *testing.T) {
	for _, name := range []string{"HEAD", "config", "packed-refs", "shallow", "objects/info/alternates"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			g := fixture.NewRepository(t)
			if err := git.CheckFiles(g.Dir); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(g.Dir, name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			_, opened := git.OpenRepository(t.Context(), g.Dir, nil)
			_, ran := git.Run(t.Context(), g.Dir, "for-each-ref")
			for _, err := range []error{opened, ran} {
				fixture.WantFault(t, fault.Failed, err, filepath.Base(name)+" is a FIFO, not a file", "put a regular file ")
			}
		})
	}
}
