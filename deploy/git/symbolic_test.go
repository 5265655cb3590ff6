package git_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// refFormats are in what form a git can keep refs (git-init(1), --ref-format), as arguments of git init.
var refFormats = map[string][]string{"files": nil, "reftable": {"--ref-format=reftable"}}

// eachRefFormat runs a test in a repository of each form of refs. Where the machine's git cannot make one, the test of
// that form is skipped: it depends on git's version, and not on what is installed.
func eachRefFormat(t *testing.T, test func(t *testing.T, g *fixture.Repository)) {
	t.Helper()
	for name, args := range refFormats {
		t.Run(name, func(t *testing.T) {
			fixture.NeedGit(t, append([]string{"init", "-q", "--bare"}, args...)...)
			test(t, fixture.NewRepository(t, args...))
		})
	}
}

// TestRefs: refs, and what they lead to, are known however git keeps them.
func TestRefs(t *testing.T) {
	eachRefFormat(t, func(t *testing.T, g *fixture.Repository) {
		one := g.CommitTree(g.Tree(), "one")
		g.Git("update-ref", "refs/heads/main", one.String())
		g.Git("update-ref", "refs/heads/packed", one.String())
		g.Git("pack-refs", "--all")
		g.Git("update-ref", "refs/heads/loose", one.String())
		for name, to := range map[string]string{
			"HEAD": "refs/heads/none", "refs/heads/a": "refs/heads/b", "refs/heads/b": "refs/heads/main",
			"refs/heads/x": "refs/heads/y", "refs/heads/y": "refs/heads/none",
		} {
			g.Git("symbolic-ref", name, to)
		}
		refs := []string{"refs/heads/main", "refs/heads/packed", "refs/heads/loose", "refs/heads/a", "refs/heads/b",
			"refs/heads/x", "refs/heads/none", "refs/heads/b/below"}
		read, err := git.ReadRefs(t.Context(), g.Dir, refs)
		if err != nil || len(read) != 5 || read["refs/heads/a"] != one || read["refs/heads/loose"] != one {
			t.Errorf("read %v, %v", read, err)
		}
		for _, c := range []struct {
			refs []string
			want bool
		}{
			{[]string{"refs/heads/main", "refs/heads/packed", "refs/heads/loose", "refs/heads/none", "refs/heads/main/below"}, true},
			{[]string{"refs/heads/loose", "refs/heads/b"}, false},
			{[]string{"refs/heads/x"}, false},
		} {
			if got := git.NoneIsSymbolic(g.Dir, c.refs); got != c.want && !(c.want && isReftable(g)) {
				t.Errorf("none of %q is symbolic: %t", c.refs, got)
			}
		}
		for range 2 { // asked for by name, and where there are many
			final, err := git.FinalRefs(t.Context(), g.Dir, refs)
			want := map[string]string{
				"refs/heads/main": "refs/heads/main", "refs/heads/packed": "refs/heads/packed",
				"refs/heads/loose": "refs/heads/loose", "refs/heads/a": "refs/heads/main", "refs/heads/b": "refs/heads/main",
			}
			if diff := cmp.Diff(want, final); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
			for i := range 1000 {
				refs = append(refs, fmt.Sprintf("refs/tags/%d", i))
			}
		}
		for ref, want := range map[string]string{
			"HEAD": "refs/heads/none", "refs/heads/a": "refs/heads/main", "refs/heads/x": "refs/heads/none",
			"refs/heads/main": "", "refs/heads/none": "",
		} {
			if got, err := git.SymbolicRef(t.Context(), g.Dir, ref); err != nil || got != want {
				t.Errorf("%s leads to %q, %v", ref, got, err)
			}
		}
		if err := git.PointHead(t.Context(), g.Dir, "refs/heads/main"); err != nil {
			t.Error(err)
		}
		if head, err := git.Head(t.Context(), g.Dir); err != nil || head != "refs/heads/main" {
			t.Errorf("HEAD is %q, %v", head, err)
		}
		loose, err := git.ReadLoose(g.Dir)
		if err != nil || len(loose.Empty) > 0 || len(loose.Locks) > 0 {
			t.Errorf("got %+v, %v", loose, err)
		}
		if git.RefsSize(g.Dir) == 0 || !strings.HasPrefix(git.RefDir(g.Dir, "refs/heads/new"), g.Dir) {
			t.Errorf("%d bytes, in %s", git.RefsSize(g.Dir), git.RefDir(g.Dir, "refs/heads/new"))
		}
	})
}

// isReftable tells whether git has to be asked for each ref.
func isReftable(g *fixture.Repository) bool {
	_, err := os.Stat(filepath.Join(g.Dir, "reftable"))
	return err == nil
}

// TestLinkAsRef: a link in the place of a ref's file, as old versions of git made them, is a symbolic ref.
func TestLinkAsRef(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Git("update-ref", "refs/heads/main", g.CommitTree(g.Tree(), "one").String())
	if err := os.Symlink("main", filepath.Join(g.Dir, "refs", "heads", "link")); err != nil {
		t.Fatal(err)
	}
	if git.NoneIsSymbolic(g.Dir, []string{"refs/heads/link"}) || !git.NoneIsSymbolic(g.Dir, []string{"refs/heads/main"}) {
		t.Error("a link is taken for no symbolic ref, or a ref for one")
	}
}

// TestBrokenRef: an empty file leads nowhere.
func TestBrokenRef(t *testing.T) {
	g := fixture.NewRepository(t)
	if err := os.WriteFile(filepath.Join(g.Dir, "refs", "heads", "main"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := git.SymbolicRef(t.Context(), g.Dir, "refs/heads/main"); err != nil || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}
