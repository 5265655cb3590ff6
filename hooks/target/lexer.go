package target

import (
	"bytes"
	"strings"
)

// WithoutSections gives a config's text without its refship sections, and every other byte as it was. A section goes
// from the beginning of its header's line to the end of its last entry's line: comments and empty lines behind that
// belong to what follows. False: git does not read the text.
func WithoutSections(text []byte) (rest []byte, ok bool) {
	l := &lexer{text: text}
	kept := 0
	var out []byte
	for {
		from, more := l.header()
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
		if l.section == configSection {
			out = append(out, text[kept:from]...)
			kept = end
		}
	}
	return append(out, text[kept:]...), !l.failed
}

// lexer reads the text of a git config. The syntax is that of git-config(1), as git's config.c reads it: white space
// is space, tab, line feed and carriage return; a carriage return before a line feed does not count; a header may be
// followed by an entry or another header on its line; a value ends with its line unless a backslash is last.
type lexer struct {
	text   []byte
	at     int
	failed bool // git does not read it

	section, sub string // of the header that was read last; the section's name is in lower case
	hasSub       bool
	key, value   string // of the entry that was read last; the key is in lower case
}

// next takes one character, and gives a line feed at the end of the text too.
func (l *lexer) next() byte {
	if l.at >= len(l.text) {
		return '\n'
	}
	c := l.text[l.at]
	l.at++
	if c == '\r' && l.at < len(l.text) && l.text[l.at] == '\n' {
		l.at++
		return '\n'
	}
	return c
}

func (l *lexer) fail() bool {
	l.failed = true
	return false
}

// line is the number of the line that was read last.
func (l *lexer) line() int { return 1 + bytes.Count(l.text[:max(l.at-1, 0)], []byte("\n")) }

func isConfigSpace(c byte) bool { return strings.IndexByte(" \t\n\r", c) >= 0 }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isKeyChar(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' || c == '-' }

// space passes over white space and comments, up to an entry or a header; false: there is nothing else.
func (l *lexer) space() bool {
	if l.at == 0 && bytes.HasPrefix(l.text, []byte("\xef\xbb\xbf")) {
		l.at = 3
	}
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case isConfigSpace(c):
			l.at++
		case c == '#' || c == ';':
			l.rest()
		default:
			return true
		}
	}
	return false
}

// rest passes over the rest of the line and its end.
func (l *lexer) rest() {
	if n := bytes.IndexByte(l.text[l.at:], '\n'); n >= 0 {
		l.at += n + 1
		return
	}
	l.at = len(l.text)
}

// blank gives the end of the line, if nothing but space and a comment is left of it.
func (l *lexer) blank() (end int, ok bool) {
	from := l.at
	defer func() { l.at = from }()
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case c == '#' || c == ';' || c == '\n':
			l.rest()
			return l.at, true
		case !isConfigSpace(c):
			return 0, false
		}
		l.at++
	}
	return l.at, true
}

// header reads the next section's header, and gives where it begins: at its line's begin, if nothing is before it.
// False: there is none.
func (l *lexer) header() (from int, ok bool) {
	for l.entry() { // before the first header, where git allows entries that have no name to ask for
	}
	if l.failed || !l.space() {
		return 0, false
	}
	from = l.at
	for from > 0 && (l.text[from-1] == ' ' || l.text[from-1] == '\t') {
		from--
	}
	if from > 0 && l.text[from-1] != '\n' {
		from = l.at
	}
	l.at++
	var name strings.Builder
	for {
		switch c := l.next(); {
		case c == ']' && name.Len() == 0:
			return 0, l.fail()
		case c == ']':
			// [a.b] is the old way to write a subsection.
			l.section, l.sub, l.hasSub = strings.Cut(strings.ToLower(name.String()), ".")
			return from, true
		case c == ' ' || c == '\t' || c == '\r':
			l.section = strings.ToLower(name.String())
			return from, l.subsection()
		case isKeyChar(c) || c == '.':
			name.WriteByte(c)
		default:
			return 0, l.fail()
		}
	}
}

// subsection reads a quoted name and the bracket behind it.
func (l *lexer) subsection() bool {
	c := l.next()
	for c == ' ' || c == '\t' || c == '\r' {
		c = l.next()
	}
	if c != '"' {
		return l.fail()
	}
	var name strings.Builder
	for c = l.next(); c != '"'; c = l.next() {
		if c == '\\' {
			c = l.next()
		}
		if c == '\n' {
			return l.fail()
		}
		name.WriteByte(c)
	}
	if l.next() != ']' {
		return l.fail()
	}
	if section, sub, ok := strings.Cut(l.section, "."); ok { // [a.b "c"] is a's b.c
		l.section, l.sub, l.hasSub = section, sub+"."+name.String(), true
		return true
	}
	l.sub, l.hasSub = name.String(), true
	return true
}

// entry reads one entry and the end of its line, and what is before it; false: there is none before the next header.
func (l *lexer) entry() bool {
	before := l.at
	if l.failed || !l.space() || l.text[l.at] == '[' {
		l.at = before
		return false
	}
	if !isLetter(l.text[l.at]) {
		return l.fail()
	}
	var key strings.Builder
	c := l.next()
	for ; isKeyChar(c); c = l.next() {
		key.WriteByte(c)
	}
	l.key, l.value = strings.ToLower(key.String()), ""
	for c == ' ' || c == '\t' {
		c = l.next()
	}
	switch c {
	case '\n':
		return true
	case '=':
		return l.parseValue()
	}
	return l.fail()
}

// parseValue reads up to the end of the line. White space at the value's ends does not count, unless it is quoted.
func (l *lexer) parseValue() bool {
	var value strings.Builder
	var space []byte
	quoted := false
	for {
		c := l.next()
		switch {
		case c == '\n':
			l.value = value.String()
			return !quoted || l.fail()
		case isConfigSpace(c) && !quoted:
			if value.Len() > 0 {
				space = append(space, c)
			}
			continue
		case (c == '#' || c == ';') && !quoted:
			l.rest()
			l.value = value.String()
			return true
		}
		value.Write(space)
		space = nil
		switch c {
		case '"':
			quoted = !quoted
		case '\\':
			c = l.next()
			if c == '\n' {
				continue // the value goes on
			}
			at := strings.IndexByte(`tbn\"`, c)
			if at < 0 {
				return l.fail()
			}
			value.WriteByte("\t\b\n\\\""[at])
		default:
			value.WriteByte(c)
		}
	}
}
