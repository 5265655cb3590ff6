package text

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes text from outside safe for a terminal: what is no printable character is escaped as in a Go string,
// so that a commit's subject or a file's name can move no cursor and hide nothing.
func Printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += size
	}
	return b.String()
}

// Mention makes text from outside safe within a sentence that talks about it. It is a Go string in ASCII, with its
// quotes, if it is empty or holds what is not printable; else it is the text as it is.
func Mention(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) && s != "" {
		return s
	}
	return strconv.QuoteToASCII(s)
}

var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Quote makes s one word of a POSIX shell, as it is where it can be.
func Quote(s string) string {
	if shellSafe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// QuotePath writes a path as git does: as it is, or, where it holds a quote, a backslash or anything that is not
// printable, in double quotes with C's escapes (git-config(1), core.quotePath; here printable UTF-8 needs no quoting).
func QuotePath(path string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(path); {
		r, size := utf8.DecodeRuneInString(path[i:])
		raw := path[i : i+size]
		i += size
		switch escape := strings.IndexByte("\a\b\t\n\v\f\r\"\\", raw[0]); {
		case escape >= 0:
			quoted = true
			b.WriteByte('\\')
			b.WriteByte("abtnvfr\"\\"[escape])
		case unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			b.WriteString(raw)
		default:
			quoted = true
			for _, c := range []byte(raw) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		}
	}
	if !quoted {
		return path
	}
	return `"` + b.String() + `"`
}
