package git_test

import (
	"errors"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// TestLimitMemory: a git that wants more than it may take ends and is known for that; with a higher limit the same
// Repository gives the same object.
func TestLimitMemory(t *testing.T) {
	const size = 3 << 20 // below what goes through in pieces
	fix := fixture.NewRepository(t)
	tree := fix.Tree("100644 blob " + fix.Blob("x").String() + "\tx")
	const who = "Ada <ada@example.org> 1767225600 +0000"
	large := fixture.OID(fix.GitInput("tree "+tree.String()+"\nauthor "+who+"\ncommitter "+who+"\n\n"+
		strings.Repeat("a long message\n", size/15), "hash-object", "-t", "commit", "-w", "--stdin"))
	small := fix.CommitTree(tree, "small")
	repo, err := git.OpenRepository(t.Context(), fix.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	const enough, little = 64 << 20, 3 << 20
	for _, limit := range []int64{little, enough, little, 0} {
		if err := repo.LimitMemory(limit); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Commit(small); err != nil {
			t.Errorf("%d: a small commit: %v", limit, err)
		}
		_, err := repo.Commit(large)
		if tooMuch := limit == little; git.IsOutOfMemory(err) != tooMuch || err != nil != tooMuch {
			t.Errorf("%d: a commit of %d bytes: %v", limit, size, err)
		}
	}
	if git.IsOutOfMemory(errors.New("Out of memory")) {
		t.Error("any error is taken for git's")
	}
}
