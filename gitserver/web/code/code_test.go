package code

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/chroma/v2"
	"golang.org/x/sync/semaphore"

	"refship/deploy/text"
)

func newTestColors(limit time.Duration) *Page {
	return &Page{semaphore.NewWeighted(1), time.Now().Add(limit)}
}

func textOf(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		for _, s := range l {
			b.WriteString(s.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Whatever a lexer makes of a text, what is shown is that text, line by line.
func FuzzColors(f *testing.F) {
	for _, name := range []string{"a.go", "a.html", "a.yaml", "Dockerfile", "a.php", "a.unknown", "a.md", "a.mcl"} {
		f.Add(name, "package main\r\n\tfunc x() { \"</script>\" }\n\n# no end")
		f.Add(name, "")
		f.Add(name, "\n\n")
	}
	f.Fuzz(func(t *testing.T, name, content string) {
		if len(content) > 10_000 {
			return
		}
		got := textOf(newTestColors(time.Minute).Lines(name, content))
		want := textOf(Plain(content))
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
		for _, r := range got {
			if r != '\n' && r != '\t' && text.Printable(string(r)) != string(r) {
				t.Errorf("%q has %q", got, r)
			}
		}
	})
}

func TestColors(t *testing.T) {
	lines := newTestColors(time.Minute).Lines("x.go", "package main\n")
	if len(lines) != 1 || lines[0][0] != (Span{"kn", "package"}) {
		t.Errorf("%q", lines)
	}
	// A lexer that hands out letter by letter makes no span that costs more and more.
	const letters = 1000
	lines = newTestColors(time.Minute).Lines("x.go", strings.Repeat("$", letters))
	if textOf(lines) != strings.Repeat("$", letters)+"\n" || len(lines) != 1 || len(lines[0]) != letters/maxJoined+1 {
		t.Errorf("%d lines, %d spans", len(lines), len(lines[0]))
	}
	// Out of time, turns or size, it is the plain text.
	busy := newTestColors(time.Millisecond)
	if !busy.turns.TryAcquire(1) {
		t.Fatal("no turn")
	}
	large := "package main\n" + strings.Repeat("// x\n", maxColored/5)
	for name, lines := range map[string][]Line{
		"late": newTestColors(-1).Lines("x.go", "package main\n"), "busy": busy.Lines("x.go", "package main\n"),
		"large": newTestColors(time.Minute).Lines("x.go", large),
	} {
		if lines[0][0] != (Span{"", "package main"}) {
			t.Errorf("%s: %q", name, lines[0])
		}
	}
}

// Each lexer can be used, with those that it names, and what is often deployed has one.
func TestLexers(t *testing.T) {
	named := regexp.MustCompile(`lexer="([^"]+)"`)
	for _, lexer := range lexers().Lexers {
		if _, err := lexer.(*chroma.RegexLexer).Rules(); err != nil {
			t.Errorf("%s: %v", lexer.Config().Name, err)
		}
		if _, err := lexer.Tokenise(nil, "x"); err != nil { // compiles its patterns
			t.Errorf("%s: %v", lexer.Config().Name, err)
		}
	}
	files, err := fs.Glob(lexerFiles, "lexers/*.xml")
	if err != nil || len(files) != len(lexers().Lexers) {
		t.Errorf("%d files, %d lexers, %v", len(files), len(lexers().Lexers), err)
	}
	for _, file := range files {
		text, err := lexerFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range named.FindAllSubmatch(text, -1) {
			if lexers().Get(string(name[1])) == nil {
				t.Errorf("%s names the lexer %s, which is not there", file, name[1])
			}
		}
	}
	for file, text := range map[string]string{
		"a.go": "if true {}", "a.py": "if x: pass", "a.sh": "if x; then y; fi", "a.yaml": "# x", "a.toml": "# x", "a.json": `"x"`,
		"a.ini": "; x", "nginx.conf": "# x", ".htaccess": "# x", "a.tf": "# x", "a.pp": "# x",
		"Dockerfile": "# x", "Makefile": "# x", "a.service": "# x", "a.sql": "-- x", "a.md": "# x\n", "a.html": "<p>",
		"a.css": "/* x */", "a.js": "// x", "a.ts": "// x", "a.xml": "<p/>", "a.php": "<?php // x", "a.proto": "// x\n",
	} {
		colored := slices.ContainsFunc(newTestColors(time.Minute).Lines(file, text), func(l Line) bool {
			return slices.ContainsFunc(l, func(s Span) bool { return s.Class != "" })
		})
		if !colored {
			t.Errorf("%s has no colors", file)
		}
	}
}

func TestHunks(t *testing.T) {
	old, new := "a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nX\ne\nf\ng\nh\ni"
	hunks, added, deleted := text.CompareLines([]byte(old), []byte(new))
	if added != 2 || deleted != 1 {
		t.Error(added, deleted)
	}
	var got []string
	for _, h := range Hunks(hunks, Plain(old), Plain(new)) {
		got = append(got, h.Head)
		for _, l := range h.Lines {
			got = append(got, l.Sign+strings.TrimSuffix(textOf([]Line{l.Spans}), "\n"))
		}
	}
	want := "@@ -1,8 +1,9 @@| a| b| c|-d|+X| e| f| g| h|+i|No newline at end of file"
	if all := strings.Join(got, "|"); all != want {
		t.Errorf("%s\n%s", all, want)
	}
}
