package tree

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"refship/deploy/fault"
)

// excludes are patterns of gitignore(5), in order: the last one that matches a path decides. go-git's own matcher is
// not used, since it takes a part of the language only: not [!a] and **/a/b, and its !a takes in all that is below a.
type excludes []*excludeRule

type excludeRule struct {
	text    string         // as it was given
	include bool           // it began with "!"
	dirOnly bool           // it ended with "/"
	whole   bool           // it is for the path from the root and not for its last element: it had a slash
	match   *regexp.Regexp // of runes that stand for bytes; see runes
	used    bool           // it matched something
}

// parseExcludes reads patterns. Unlike in a .gitignore nothing is a comment, and a space at the end is one.
func parseExcludes(patterns []string) (excludes, error) {
	var x excludes
	for _, text := range patterns {
		rule, err := parseExclude(text)
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Sprintf("exclude pattern %q %v", text, err),
				"a pattern is as in .gitignore: *.log, node_modules/, /build, docs/**/*.pdf, !keep.log; "+
					"a backslash before a special character takes it as it is")
		}
		x = append(x, rule)
	}
	return x, nil
}

func parseExclude(text string) (*excludeRule, error) {
	r := &excludeRule{text: text}
	rest := text
	rest, r.include = strings.CutPrefix(rest, "!")
	rest, r.dirOnly = strings.CutSuffix(rest, "/")
	rest, r.whole = strings.CutPrefix(rest, "/")
	r.whole = r.whole || strings.Contains(rest, "/")
	if rest == "" {
		return nil, errors.New("is empty")
	}
	var b strings.Builder
	elements := strings.Split(rest, "/")
	for i, element := range elements {
		last := i == len(elements)-1
		switch {
		case element == "":
			return nil, errors.New("has two slashes in a row")
		case element == "." || element == "..":
			return nil, errors.New("has an element . or ..: it goes from the deployed directory")
		case len(element) > 1 && strings.Trim(element, "*") == "":
			b.WriteString(map[bool]string{true: ".+", false: "(?:.+/)?"}[last])
			continue
		}
		if err := translate(&b, element); err != nil {
			return nil, err
		}
		if !last {
			b.WriteByte('/')
		}
	}
	var err error
	if r.match, err = regexp.Compile(`\A(?s:` + b.String() + `)\z`); err != nil {
		return nil, errors.New("is too long")
	}
	return r, nil
}

// translate writes a pattern of one path element as a regular expression.
func translate(b *strings.Builder, element string) error {
	for i := 0; i < len(element); i++ {
		switch c := element[i]; c {
		case 0:
			return errors.New("has a NUL byte")
		case '*':
			b.WriteString("[^/]*")
		case '?':
			b.WriteString("[^/]")
		case '[':
			class, n := parseClass(element[i:])
			if n == 0 {
				return errors.New("has a [ without its ]")
			}
			writeClass(b, class)
			i += n - 1
		case '\\':
			if i++; i == len(element) {
				return errors.New("has a backslash at the end of a name")
			}
			c = element[i]
			fallthrough
		default:
			b.WriteString(regexp.QuoteMeta(string(rune(c))))
		}
	}
	return nil
}

// parseClass reads a bracket expression as wildmatch.c of git does, and gives the bytes that it takes and its length;
// 0 if it does not end.
func parseClass(s string) (class [256]bool, n int) {
	i := 1
	negated := i < len(s) && (s[i] == '!' || s[i] == '^')
	if negated {
		i++
	}
	next := func() (byte, bool) { // a byte, perhaps after a backslash
		if i < len(s) && s[i] == '\\' {
			i++
		}
		if i >= len(s) {
			return 0, false
		}
		i++
		return s[i-1], true
	}
	for first := true; i < len(s) && (first || s[i] != ']'); first = false {
		if name, _, ok := strings.Cut(s[i:], ":]"); ok && strings.HasPrefix(name, "[:") && posix[name[2:]] != nil {
			for c := range class {
				class[c] = class[c] || c < 0x80 && posix[name[2:]](byte(c))
			}
			i += len(name) + 2
			continue
		}
		low, ok := next()
		high := low
		if ok && i+1 < len(s) && s[i] == '-' && s[i+1] != ']' {
			i++
			high, ok = next()
		}
		if !ok {
			return class, 0
		}
		for c := int(low); c <= int(high); c++ {
			class[c] = true
		}
	}
	if i >= len(s) {
		return class, 0
	}
	for c := range class {
		class[c] = class[c] != negated && c != '/'
	}
	return class, i + 1
}

func within(ranges string) func(byte) bool {
	return func(c byte) bool {
		for i := 0; i < len(ranges); i += 2 {
			if ranges[i] <= c && c <= ranges[i+1] {
				return true
			}
		}
		return false
	}
}

// posix are the named classes, in ASCII.
var posix = map[string]func(byte) bool{
	"alnum": within("09AZaz"), "alpha": within("AZaz"), "blank": within("  \t\t"), "cntrl": within("\x00\x1f\x7f\x7f"),
	"digit": within("09"), "graph": within("!~"), "lower": within("az"), "print": within(" ~"),
	"punct": within("!/:@[`{~"), "space": within("  \t\r"), "upper": within("AZ"), "xdigit": within("09AFaf"),
}

func writeClass(b *strings.Builder, class [256]bool) {
	b.WriteByte('[')
	for c, in := range class {
		if in {
			fmt.Fprintf(b, `\x{%x}`, c)
		}
	}
	b.WriteString(`\x{100}]`) // in no name; a class must not be empty
}

// runes makes one rune of each byte, so that a pattern means bytes as git's do, and names need not be UTF-8.
func runes(name string) string {
	out := make([]rune, len(name))
	for i := range len(name) {
		out[i] = rune(name[i])
	}
	return string(out)
}

// excluded tells whether what lies at path, elements joined with "/", is left out. What is below a directory that is
// left out must not be asked for.
func (x excludes) excluded(path string, dir bool) bool {
	if len(x) == 0 {
		return false
	}
	whole := runes(path)
	base := whole[strings.LastIndexByte(whole, '/')+1:]
	decided, out := false, false
	for _, r := range slices.Backward(x) {
		if decided && r.used || r.dirOnly && !dir {
			continue
		}
		name := base
		if r.whole {
			name = whole
		}
		if !r.match.MatchString(name) {
			continue
		}
		r.used = true
		if !decided {
			decided, out = true, !r.include
		}
	}
	return out
}

// unused gives the patterns that matched nothing.
func (x excludes) unused() []string {
	var list []string
	for _, r := range x {
		if !r.used {
			list = append(list, r.text)
		}
	}
	return list
}
