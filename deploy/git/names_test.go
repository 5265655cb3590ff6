package git_test

import (
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// TestRefNames: what git takes for a ref of a repository is one, and nothing else.
func TestRefNames(t *testing.T) {
	g := fixture.NewRepository(t)
	for _, ref := range []string{
		"refs/heads/main", "refs/heads/@", "refs/heads/-x", "refs/heads/HEAD", "refs/tags/v1", "refs/x/y", "refs/heads/a/b",
		"refs/heads/a@b", "refs/heads/@/x", "refs/heads/\xff", "refs/heads/ü", "refs/heads/a.lockb", "refs/heads/a{b}",
		"refs/heads/refs/heads/x", "refs/heads/a]", "refs/heads/!", "refs/heads/a\xc2\x80b",
		"refs/heads/.a", "refs/heads/a/.b", "refs/heads/a.lock", "refs/heads/a.lock/b", "refs/heads/a..b", "refs/heads/a.",
		"refs/heads/a b", "refs/heads/a~", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/a*",
		"refs/heads/a[", `refs/heads/a\b`, "refs/heads/a@{b", "refs/heads/", "refs/heads//a", "refs/heads/a/",
		"refs/heads/a\x7f", "refs/heads/a\tb", "refs/heads/a\nb", "refs/heads/a\x01",
	} {
		_, bad := g.TryGit("", "check-ref-format", ref)
		if err := git.CheckRef(ref); (err == nil) != (bad == nil) {
			t.Errorf("%q: got %v, git says %v", ref, err, bad)
		}
	}
}

// TestShortRef: a short name is one that git reads as the same ref.
func TestShortRef(t *testing.T) {
	for ref, want := range map[string]string{
		"refs/heads/main": "main", "refs/heads/a/b": "a/b", "refs/tags/v1": "refs/tags/v1", "refs/heads/@": "refs/heads/@",
		"refs/heads/-x": "refs/heads/-x", "refs/heads/HEAD": "refs/heads/HEAD", "refs/heads/refs/x": "refs/heads/refs/x",
	} {
		if got := git.ShortRef(ref); got != want {
			t.Errorf("%s: got %s", ref, got)
		}
	}
}
