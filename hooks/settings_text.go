package hooks

import (
	"bytes"
	"strings"
)

// withoutRules gives a config's text without its refship sections, and every other byte as it was. A section goes from the
// beginning of its header's line to the end of its last entry's line: comments and empty lines behind that belong to what
// follows. False: the text is none that git reads.
//
// The syntax is that of git-config(1), as git's config.c reads it: a value ends with its line unless a backslash is last
// or a quote is open; a header may be followed by an entry or another header on its line.
func withoutRules(text []byte) (rest []byte, ok bool) {
	l := &configLexer{text: text}
	kept := 0
	var out []byte
	for {
		from, name, more := l.header()
		if !more {
			break
		}
		end := l.at
		if newline, blank := l.blank(); blank {
			end = newline
		}
		for l.entry() {
			end = l.at
		}
		if l.failed {
			return nil, false
		}
		if first, _, _ := strings.Cut(name, "."); strings.EqualFold(first, section) {
			out = append(out, text[kept:max(from, kept)]...)
			kept = end
		}
	}
	return append(out, text[kept:]...), !l.failed
}

type configLexer struct {
	text   []byte
	at     int
	failed bool
}

func (l *configLexer) peek() (byte, bool) {
	if l.at < len(l.text) {
		return l.text[l.at], true
	}
	return 0, false
}

// space passes over white space and comments.
func (l *configLexer) space() {
	for c, ok := l.peek(); ok; c, ok = l.peek() {
		switch {
		case isConfigSpace(c):
			l.at++
		case c == '#' || c == ';':
			l.line()
		case l.at == 0 && bytes.HasPrefix(l.text, []byte("\xef\xbb\xbf")):
			l.at += 3
		default:
			return
		}
	}
}

func isConfigSpace(c byte) bool { return strings.IndexByte(" \t\n\r\v\f", c) >= 0 }

// line passes over the rest of the line and its end.
func (l *configLexer) line() {
	if n := bytes.IndexByte(l.text[l.at:], '\n'); n >= 0 {
		l.at += n + 1
		return
	}
	l.at = len(l.text)
}

// blank gives the end of the line, if nothing but space and a comment is left of it.
func (l *configLexer) blank() (end int, ok bool) {
	from := l.at
	defer func() { l.at = from }()
	for c, more := l.peek(); more; c, more = l.peek() {
		switch {
		case c == '#' || c == ';' || c == '\n':
			l.line()
			return l.at, true
		case !isConfigSpace(c):
			return 0, false
		}
		l.at++
	}
	return l.at, true
}

// header passes over the next section's header. It gives where that begins: at its line's begin, if nothing is before it.
func (l *configLexer) header() (from int, name string, ok bool) {
	l.space()
	c, more := l.peek()
	if !more || l.failed {
		return 0, "", false
	}
	if c != '[' {
		l.failed = true // an entry without a section
		return 0, "", false
	}
	from = l.at
	for from > 0 && (l.text[from-1] == ' ' || l.text[from-1] == '\t') {
		from--
	}
	if from > 0 && l.text[from-1] != '\n' {
		from = l.at
	}
	var quoted, escaped bool
	for start := l.at + 1; ; {
		l.at++
		c, more := l.peek()
		switch {
		case !more || c == '\n':
			l.failed = true
			return 0, "", false
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			name, _, _ = strings.Cut(string(l.text[start:l.at]), `"`)
			l.at++
			return from, strings.TrimRight(name, " \t"), true
		}
	}
}

// entry passes over one entry and the end of its line; false: there is none before the next header. What is before an
// entry, comments too, is passed over with it.
func (l *configLexer) entry() bool {
	before := l.at
	l.space()
	c, more := l.peek()
	if !more || c == '[' {
		l.at = before
		return false
	}
	if c|0x20 < 'a' || c|0x20 > 'z' {
		l.failed = true
		return false
	}
	var quoted, comment bool
	for c, more := l.peek(); more; c, more = l.peek() {
		l.at++
		switch {
		case c == '\n' && quoted:
			l.failed = true
			return false
		case c == '\n':
			return true
		case comment:
		case c == '\\':
			if bytes.HasPrefix(l.text[l.at:], []byte("\r\n")) {
				l.at++
			}
			l.at++ // of a line feed too, which goes on with the value
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '#' || c == ';'):
			comment = true
		}
	}
	l.at = min(l.at, len(l.text))
	l.failed = l.failed || quoted
	return !l.failed
}
