package main

// What a user gains from this test: a command that make demo prints can be pasted as it is.

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestDemoPrintsCommandsToPaste(t *testing.T) {
	t.Parallel()
	show := regexp.MustCompile(`(?m)^show\(\) \{\n(?:.*\n)*?\}\n`).FindString(readFile(t, "../../contrib/demo.sh"))
	args := []string{"ssh-keygen", "-N", "", "-C", "it's a demo", "deploy:*", `$HOME\n"`, "-f", "/tmp/a-b_c.d"}
	sh := func(script string, args ...string) string {
		t.Helper()
		out, err := exec.Command("sh", append([]string{"-euc", script, "sh"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	printed := sh(show+`show "$@"`, args...)
	const prompt = "\n$ ssh-keygen -N '' -C "
	if !strings.HasPrefix(printed, prompt) {
		t.Errorf("got %q, want %q first", printed, prompt)
	}
	pasted := sh(`printf '%s\n' ` + strings.TrimPrefix(printed, "\n$ "))
	if got := strings.Split(strings.TrimSuffix(pasted, "\n"), "\n"); !slices.Equal(got, args) {
		t.Errorf("printed %sa shell reads %q, want %q", printed, got, args)
	}
}
