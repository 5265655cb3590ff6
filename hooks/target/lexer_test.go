package target_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/hooks/target"
)

// configPieces are pieces of git configs, as git and people write them.
var configPieces = []string{
	"[core]\n\tbare = true\n", "[core]\r\n\tbare = true\r\n", "# a comment\n", "; [refship]\n", "\n", "   \n",
	"[a] b = c\n", "[a] # [refship]\n",
	"[remote \"refship\"]\n\turl = x\n", "[x \"a]b\"]\n\ty = z\n", "[x \"a\\\"]\\\\\"]\n\ty\n",
	"[alias]\n\tl = \"!f() { [ x ]; }; f # [refship]\"\n",
	"[alias]\n\tl = one \\\n[refship]\n", "[alias]\n\tl = \"one \\\n[refship]\\\" two\"\n",
	"[alias]\n\tl = one ; \"not open \\\n", "[A.B]\n\tc=d\n", "[refshipper]\n\ta = b\n",
	"\t[deep]\n\t\tx\n", "[e]\n", "[f][g]\n\th = i\n", "\tk = v\n",
}

// Git's own editor puts sections in, refship's takes them out: the bytes are those of before, but for a line feed at
// the end.
func TestWithoutRulesRestores(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	config := func(args ...string) (string, error) {
		cmd := exec.Command("git", append([]string{"config", "--file", file}, args...)...)
		cmd.Env = fixture.GitEnv(dir)
		out, err := cmd.Output()
		return string(out), err
	}
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom(configPieces), 0, 8).Draw(t, "pieces")
		text := "[first]\n\tx = y\n" + strings.Join(pieces, "")
		if rapid.Bool().Draw(t, "no newline") {
			text = strings.TrimRight(text, "\r\n")
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		listed, err := config("--list")
		if err != nil {
			t.Skip("git does not read it")
		}
		if rest, ok := target.WithoutSections([]byte(text)); !ok || string(rest) != text {
			t.Fatalf("without refship sections %q became %q, %v", text, rest, ok)
		}
		for _, s := range [][2]string{{"refship.repository", "a"}, {"refship.default.ref", "refs/heads/main"},
			{"refship.endpoints", "a # b"}, {"refship.x.check", "a \"b\" \\ [c]"}} {
			if _, err := config(s[0], s[1]); err != nil {
				t.Fatal(err)
			}
		}
		edited, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := target.WithoutSections(edited); !ok || string(rest) != text && string(rest) != text+"\n" {
			// A value that goes on with the next line swallows what git appends: install refuses such a config.
			if !strings.HasSuffix(text, "\\") {
				t.Fatalf("%q became\n%q and then\n%q, %v", text, edited, rest, ok)
			}
			return
		}
		rest, _ := target.WithoutSections(edited)
		if err := os.WriteFile(file, rest, 0o600); err != nil {
			t.Fatal(err)
		}
		if after, err := config("--list"); err != nil || after != listed {
			t.Fatalf("git reads\n%s, %v, and read\n%s", after, err, listed)
		}
	})
}

// What git reads is read, to the same, and nothing else.
func TestConfigIsReadAsGitDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "config")
	pieces := append([]string{
		"[", "]", "\"", "\\", "\\\"", "\n", "\r\n", "\r", " ", "=", "#", ";", "key", "[refship]",
		"[Ref.Ship]", "[a.b \"C\"]", "[a \"b\"] ", "\tk =  v  w \\t x  \n",
		"K-1=\"  quoted \\\\ \" and not \n", "1k = 2\n", "é", "[é]", "k = é\x80\n",
		"\xef\xbb\xbf", "\\\r\n", "[a  \t\"b\" ]", ".",
	}, configPieces...)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 12).Draw(t, "pieces"), "")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("git", "config", "-z", "--list", "--file", file)
		cmd.Env = fixture.GitEnv(dir)
		out, err := cmd.Output()
		got, ok := target.ConfigEntries([]byte(text))
		if ok != (err == nil) {
			t.Fatalf("%q: git: %v %q, we: %v %q", text, err, out, ok, got)
		}
		if !ok {
			return
		}
		// An entry without a value is shown without a line feed.
		want := ""
		for entry := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
			if entry != "" && !strings.Contains(entry, "\n") {
				entry += "\n"
			}
			// A name without a dot is before the first section.
			if name, _, _ := strings.Cut(entry, "\n"); strings.Contains(name, ".") {
				want += entry + "\x00"
			}
		}
		if got != want {
			t.Fatalf("%q: git reads %q, we %q", text, want, got)
		}
	})
}

// What people did to the sections since: git reads nothing of refship afterwards, and all else as before.
func TestWithoutRulesOfOddSections(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"[a]\n\tb = c\n[refship]\n\tx = y\n# about d\n[d]\n\te\n", "[a]\n\tb = c\n# about d\n[d]\n\te\n"},
		{"[RefShip \"Def]ault\"] x = y # z\n[d]\n", "[d]\n"},
		{"[refship.default]\n\tx = y\n\n[d]\n", "\n[d]\n"},
		{"[refship]\n\t# inside\n\tx = \"a\\\n[b]\"\n\t; last\n", "\t; last\n"},
		{"[refship]\r\n\tx = y \\\r\n\tz\r\n[d]\r\n", "[d]\r\n"},
		{"[refship]", ""},
		{"\xef\xbb\xbf[refship]\n\tx\n[d]\n", "\xef\xbb\xbf[d]\n"},
		{"  [refship] # here\n\tx = y", ""},
		{"[a][refship]\n\tx = y\n[d]\n", "[a][d]\n"},
	} {
		if rest, ok := target.WithoutSections([]byte(c[0])); !ok || string(rest) != c[1] {
			t.Errorf("%q became %q, %v, want %q", c[0], rest, ok, c[1])
		}
	}
	for _, text := range []string{"x y\n", "[a\n", "[a]\n\tb = \"c\n", "[a]\n\t= b\n", "[refship \"a"} {
		if rest, ok := target.WithoutSections([]byte(text)); ok {
			t.Errorf("%q became %q", text, rest)
		}
	}
}

// Whatever the bytes are, it ends, and takes out what it has seen.
func FuzzWithoutRules(f *testing.F) {
	for _, piece := range configPieces {
		f.Add([]byte(piece + "[refship]\n\ta = b\n" + piece))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		rest, ok := target.WithoutSections(text)
		if !ok {
			return
		}
		if again, ok := target.WithoutSections(rest); !ok || !bytes.Equal(rest, again) {
			t.Errorf("%q became %q and then %q, %v", text, rest, again, ok)
		}
	})
}
