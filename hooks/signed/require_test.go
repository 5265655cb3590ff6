package signed_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/tree"
	"refship/hooks/signed"
	"refship/hooks/target"
	"refship/keys"
)

// history is a repository in which commits are made as they are asked for.
type history struct {
	*fixture.Repository
	t *testing.T
}

// commit makes a commit of a time, signed by a key, 0: none, and gives its oid.
func (h *history) commit(by byte, at time.Time, parents ...tree.OID) tree.OID {
	h.t.Helper()
	who := fmt.Sprintf("Ada <a@x> %d +0000", at.Unix())
	header := "tree " + h.Tree().String() + "\n"
	for _, p := range parents {
		header += "parent " + p.String() + "\n"
	}
	header += "author " + who + "\ncommitter " + who + "\n"
	message := fmt.Sprintf("\nby %d after %d\n", by, len(parents))
	if by != 0 {
		signature, err := keys.Sign(fixture.Signer(by), keys.GitNamespace, []byte(header+message))
		if err != nil {
			h.t.Fatal(err)
		}
		folded := strings.ReplaceAll(strings.TrimSuffix(string(signature), "\n"), "\n", "\n ")
		header += "gpgsig " + folded + "\n"
	}
	oid, err := tree.ParseOID(strings.TrimSpace(h.GitInput(header+message, "hash-object", "-t", "commit", "-w", "--stdin")))
	if err != nil {
		h.t.Fatal(err)
	}
	return oid
}

// TestCheckCommits: which commits of a deploy have to be signed, by whom and when.
func TestCheckCommits(t *testing.T) {
	t.Parallel()
	h := &history{fixture.NewRepository(t), t}
	before, now := time.Unix(1_600_000_000, 0), time.Unix(1_750_000_000, 0)
	root := h.commit(0, now)
	good := h.commit(3, now, root)
	onTop := h.commit(3, now, good)
	late := h.commit(5, before, root) // its key signs no more, and the commit says that it is from before
	side := h.commit(0, now, root)
	merge := h.commit(3, now, good, side)
	repo, err := git.OpenRepository(t.Context(), h.Dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	short := func(oid tree.OID) string { return oid.String()[:7] }
	for name, c := range map[string]struct {
		want          target.SignedCommits
		commit, below tree.OID
		refused       string // "": it is not
	}{
		"not wanted":       {"", root, tree.OID{}, ""},
		"unsigned":         {target.DeployedCommit, root, tree.OID{}, short(root) + " is not signed"},
		"only the newest":  {target.DeployedCommit, onTop, tree.OID{}, ""},
		"all, from root":   {target.AllCommits, onTop, root, ""},
		"all of the first": {target.AllCommits, onTop, tree.OID{}, "allowed signer: " + short(root) + " is not signed"},
		"all, from afar":   {target.AllCommits, onTop, fixture.BlobOID("gone"), short(root) + " is not signed"},
		"expired":          {target.DeployedCommit, late, root, "was allowed only until"},
		"merge":            {target.DeployedCommit, merge, good, ""},
		"all of a merge":   {target.AllCommits, merge, good, short(side) + " is not signed"},
		"back, by force":   {target.AllCommits, good, merge, ""},
	} {
		err := trusts().CheckCommits(t.Context(), "config", target.Target{Ref: main, RequireSignedCommits: c.want},
			signed.Commits{Repo: repo, Commit: c.commit, Below: c.below})
		if c.refused == "" && err != nil ||
			c.refused != "" && (!fault.Is(err, fault.Refused) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
