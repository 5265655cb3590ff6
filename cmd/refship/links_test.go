package main

// What a reader gains from these tests: the manual's links lead somewhere, and its first page is short.

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const (
	moduleDir   = "../.."
	readmeLines = 200 // README.md has fewer
)

// pages are the manual: all Markdown of the module, by path below its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(moduleDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != moduleDir && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" ||
			entry.Name() == "bin") {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() || filepath.Ext(path) != ".md" {
			return nil
		}
		name, err := filepath.Rel(moduleDir, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		all[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	fencedCode   = regexp.MustCompile("(?ms)^```.*?^```$")
	indentedCode = regexp.MustCompile(`(?m)^(?: {4}|\t).*$`)
	codeSpan     = regexp.MustCompile("`[^`\n]*`")
	heading      = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	link         = regexp.MustCompile(`\[[^]]*\]\(([^)\s]*)\)`)
)

// anchors are what GitHub makes of a page's headings: in lower case, letters, digits, hyphens and underscores stay,
// spaces become hyphens.
func anchors(page string) map[string]bool {
	all := make(map[string]bool)
	page = indentedCode.ReplaceAllString(fencedCode.ReplaceAllString(page, ""), "")
	for _, match := range heading.FindAllStringSubmatch(page, -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, strings.TrimSpace(match[1]))] = true
	}
	return all
}

// linksOf are the targets of a page's links, and its pictures, code left out.
func linksOf(page string) []string {
	for _, code := range []*regexp.Regexp{fencedCode, indentedCode, codeSpan} {
		page = code.ReplaceAllString(page, "")
	}
	var all []string
	for _, match := range link.FindAllStringSubmatch(page, -1) {
		all = append(all, match[1])
	}
	return all
}

// brokenLink says what is wrong with a link in the page at from; "" if nothing is. Links to elsewhere are not followed.
func brokenLink(all map[string]string, from, target string) string {
	u, err := url.Parse(target)
	switch {
	case err != nil:
		return err.Error()
	case u.IsAbs():
		return ""
	case strings.HasPrefix(target, "/"):
		return "is an absolute path"
	}
	to := filepath.ToSlash(filepath.Join(filepath.Dir(from), u.Path))
	if u.Path == "" {
		to = from
	}
	if _, err := os.Stat(filepath.Join(moduleDir, to)); errors.Is(err, fs.ErrNotExist) {
		return "there is no " + to
	} else if err != nil {
		return err.Error()
	}
	if u.Fragment != "" && !anchors(all[to])[u.Fragment] {
		return "there is no heading #" + u.Fragment + " in " + to
	}
	return ""
}

func TestLinks(t *testing.T) {
	t.Parallel()
	all := pages(t)
	linked := map[string]bool{"README.md": true}
	for from, page := range all {
		for _, target := range linksOf(page) {
			if wrong := brokenLink(all, from, target); wrong != "" {
				t.Errorf("%s: the link %s: %s", from, target, wrong)
			}
			path, _, _ := strings.Cut(target, "#")
			linked[filepath.ToSlash(filepath.Join(filepath.Dir(from), path))] = true
		}
	}
	for name := range all {
		if !linked[name] {
			t.Errorf("no page links to %s", name)
		}
	}
	if lines := strings.Count(all["README.md"], "\n"); lines >= readmeLines {
		t.Errorf("README.md has %d lines, and should have fewer than %d", lines, readmeLines)
	}
}

// That the test above sees mistakes.
func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"README.md":             "# refship\n\n## One, two: `three`\n\n    ## none\n[a](b) `[c](d)` ![e](f)\n\n    [g](h)\n",
		"cmd/refship/README.md": "# Page\n",
	}
	if got := linksOf(all["README.md"]); !slices.Equal(got, []string{"b", "f"}) {
		t.Errorf("links: %q", got)
	}
	for target, want := range map[string]string{
		"https://example.org/":          "",
		"#page":                         "",
		"#pages":                        "there is no heading #pages in cmd/refship/README.md",
		"main.go":                       "",
		"nothing.go":                    "there is no cmd/refship/nothing.go",
		"../../README.md#one-two-three": "",
		"../../README.md#none":          "there is no heading #none in README.md",
		"/README.md":                    "is an absolute path",
	} {
		if got := brokenLink(all, "cmd/refship/README.md", target); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

// The threat model names the test that shows each of its lines.
func TestThreatsAreShown(t *testing.T) {
	shown := make(map[string]bool)
	err := filepath.WalkDir(moduleDir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case filepath.Ext(path) == ".txtar":
			shown[strings.TrimSuffix(entry.Name(), ".txtar")] = true
		case strings.HasSuffix(path, "_test.go"):
			text, err := os.ReadFile(path)
			for _, found := range testName.FindAllSubmatch(text, -1) {
				shown[string(found[1])] = true
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for line := range strings.Lines(pages(t)["gitserver/THREATS.md"]) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || !strings.HasPrefix(line, "| can") || strings.HasPrefix(line, "| can,") {
			continue
		}
		names := codeSpan.FindAllString(cells[3], -1)
		named += len(names)
		if len(names) == 0 && strings.TrimSpace(cells[1]) == "cannot" {
			t.Errorf("nothing shows: %s", line)
		}
		for _, name := range names {
			if !shown[strings.Trim(name, "`")] {
				t.Errorf("there is no test or script %s", name)
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d tests are named", named)
	}
}

var testName = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
