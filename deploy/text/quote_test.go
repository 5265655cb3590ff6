package text

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

func TestQuotePath(t *testing.T) {
	for path, want := range map[string]string{
		"plain": "plain", "with space": "with space", "tschüß": "tschüß",
		"not utf-8 \xff": `"not utf-8 \377"`, // what git leaves alone without core.quotePath
		"bidi \u202e":    `"bidi \342\200\256"`, "c1 \u009b": `"c1 \302\233"`, "\uFFFD": "\uFFFD",
	} {
		if got := QuotePath(path); got != want {
			t.Errorf("QuotePath(%q) = %s, want %s", path, got, want)
		}
	}
	// git quotes what it names; its index takes names that no file has.
	dir := t.TempDir()
	git := func(stdin string, args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %v: %v", args, err)
		}
		return string(out)
	}
	git("", "init", "-q")
	oid := strings.TrimSpace(git("x", "hash-object", "-w", "--stdin"))
	var index strings.Builder
	want := map[string]bool{}
	for c := 1; c < 0x80; c++ {
		if c == '/' {
			continue
		}
		path := "a" + string(rune(c)) + "ü"
		want[QuotePath(path)] = true
		fmt.Fprintf(&index, "100644 %s\t%s\x00", oid, path)
	}
	git(index.String(), "update-index", "-z", "--index-info")
	for line := range strings.Lines(git("", "-c", "core.quotePath=false", "ls-files")) {
		if path := strings.TrimSuffix(line, "\n"); !want[path] {
			t.Errorf("git quotes %s, we do not", path)
		}
	}
}
