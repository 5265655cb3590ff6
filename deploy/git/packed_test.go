package git_test

import (
	"os"
	"path/filepath"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// A repository whose refs are only the file that ReadPackedRefs makes has the same refs, and git finds nothing wrong.
func TestReadPackedRefs(t *testing.T) {
	g := fixture.NewRepository(t)
	line := g.Line("main", 3, git.OID{})
	first := line[len(line)-1]
	for _, name := range []string{
		"refs/heads/a", "refs/heads/a-b", "refs/heads/a.b/c", "refs/tags/v1", "refs/refship/replaced/1", "refs/heads/ä\xff",
	} {
		g.Git("update-ref", name, first.String())
	}
	g.Git("pack-refs", "--all")
	g.Line("main", 1, first) // loose again
	g.Git("tag", "-a", "-m", "annotated", "v2", "main")
	g.Git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
	before := g.Git("for-each-ref")

	refs, err := git.ReadPackedRefs(t.Context(), g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(refs.Symbolic) != 1 || refs.Symbolic["refs/heads/alias"] != "refs/heads/main" {
		t.Errorf("symbolic: %v", refs.Symbolic)
	}
	if err := os.RemoveAll(filepath.Join(g.Dir, "refs", "heads")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.Dir, "packed-refs"), refs.Packed, 0o600); err != nil {
		t.Fatal(err)
	}
	g.Git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
	if now := g.Git("for-each-ref"); now != before {
		t.Errorf("now:\n%s\nbefore:\n%s", now, before)
	}
	g.Git("fsck", "--strict")
	g.Git("update-ref", "-d", "refs/heads/a")
	g.Git("pack-refs", "--all")
}

// A repository without refs has none in the file, either.
func TestReadPackedRefsOfNone(t *testing.T) {
	refs, err := git.ReadPackedRefs(t.Context(), fixture.NewRepository(t).Dir)
	if err != nil || string(refs.Packed) != "# pack-refs with: sorted \n" {
		t.Errorf("%q, %v", refs.Packed, err)
	}
}
