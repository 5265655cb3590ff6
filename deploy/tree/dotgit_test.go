package tree_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"refship/deploy/tree"
)

// What git's own fsck takes for ".git" is refused, and nothing else.
func TestDotGitAsGit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	git := func(input string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir}, args...)...)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		return string(bytes.TrimSpace(out)), err
	}
	if out, err := git("", "init", "-q"); err != nil {
		t.Fatal(err, out)
	}
	blob, err := git("x", "hash-object", "-w", "--stdin")
	if err != nil {
		t.Fatal(err, blob)
	}
	byTree := map[string]string{}
	for _, name := range []string{
		".git", ".GIT", ".gIt", "git~1", "GIT~1", "git~2", "git~10", "git~1.", "git~1 ", ".git ", ".git.", ".git. . ",
		".git:", ".git::$INDEX_ALLOCATION", ".git...:x", ".git ::x", ".git:.x", ".git x", ".gitx", ".gi", "git", ".git..x",
		".g\u200cit", "\u200d.git", ".git\ufeff", ".\u200eg\u200fi\u202at", ".g\u202ei\u206at\u206f", ".g\u200bit", ".g\u2070it",
		".G\u200cIT", ".g\u200cit ", ".g\u200cit\xff", "\xff.git", "a\\.git", "a\\.git ", "\\.git", ".git\\a", "a\\git~1\\b", "a\\.gitx",
		".ğit", ".gıt", ".ɡit", ".gitmodules", "...", "GIT~1:x", "gıt~1", ".gİt",
	} {
		made, err := git("100644 blob "+blob+"\t"+name+"\x00", "mktree", "-z")
		if err != nil {
			t.Fatalf("%q: %v\n%s", name, err, made)
		}
		byTree[made] = name
	}
	found, _ := git("", "fsck", "--strict") // it ends with an error, since there are such names
	refused := 0
	for made, name := range byTree {
		err := tree.CheckName(name)
		gits := strings.Contains(found, made+": hasDotgit")
		if is := errors.Is(err, tree.ErrDotGit); is != gits || err != nil && !is {
			t.Errorf("%q: %v, and git refuses it: %v", name, err, gits)
		}
		if gits {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("git refuses %d of %d names:\n%s", refused, len(byTree), found)
	}
}

// A slash or a NUL is refused whatever is beside it.
func TestDotGitIsNoExcuse(t *testing.T) {
	for _, name := range []string{".git:/../x", ".git/", ".git:\x00", "git~1:/x"} {
		if err := tree.CheckName(name); err == nil || errors.Is(err, tree.ErrDotGit) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestFolded(t *testing.T) {
	for _, same := range [][]string{{"README", "readme"}, {"a/ÄB", "A/äb"}, {"s", "S", "ſ"}, {"ς", "σ", "Σ"}, {"k", "\u212a"}} {
		for _, path := range same[1:] {
			if tree.Folded(path) != tree.Folded(same[0]) {
				t.Errorf("%q is not %q", path, same[0])
			}
		}
	}
	if tree.Folded("ab") == tree.Folded("a-b") {
		t.Error("ab is a-b")
	}
}
