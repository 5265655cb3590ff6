package web

import (
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
	"golang.org/x/sync/semaphore"

	"refship/deploy/text"
)

const (
	// maxColored is the size, in bytes, up to which a text is colored.
	maxColored = 256 << 10
	// colorTime is how long the coloring of one page may take: then what is left has no colors.
	colorTime = 400 * time.Millisecond
	// colorsAtOnce bounds how many texts are colored at the same time, also when nobody waits any more.
	colorsAtOnce = 2
)

// span is a piece of a line; Class is one of the stylesheet's, "" for none.
type span struct{ Class, Text string }

// line is a line of a text, without its end.
type line []span

// add appends a piece of text.
func (l line) add(class, piece string) line {
	if piece == "" {
		return l
	}
	piece = visible(piece)
	if last := len(l) - 1; last >= 0 && l[last].Class == class {
		l[last].Text += piece
		return l
	}
	return append(l, span{class, piece})
}

// colors colors the texts of one page.
type colors struct {
	turns *semaphore.Weighted
	until time.Time
}

func (w *Web) newColors() *colors { return &colors{w.colors, time.Now().Add(colorTime)} }

// lines cuts a text into lines, colored by what its file's name says it is. A lexer's regular expressions may take very
// long for a text that was made for it. So it works beside, and what is not there in time has no colors.
func (c *colors) lines(name, content string) []line {
	left := time.Until(c.until)
	if left <= 0 || len(content) > maxColored || !utf8.ValidString(content) {
		return plainLines(content)
	}
	lexer := lexers.Match(name)
	if lexer == nil || !c.turns.TryAcquire(1) {
		return plainLines(content)
	}
	var over atomic.Bool
	done := make(chan []line, 1)
	go func() {
		defer c.turns.Release(1)
		done <- lex(lexer, content, &over)
	}()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case colored := <-done:
		if colored != nil {
			return colored
		}
	case <-timer.C:
		over.Store(true)
	}
	return plainLines(content)
}

// lex colors a text; nil if that cannot be done, or is over.
func lex(lexer chroma.Lexer, content string, over *atomic.Bool) (all []line) {
	defer func() {
		if recover() != nil { // the library's way to give up
			all = nil
		}
	}()
	tokens, err := lexer.Tokenise(&chroma.TokeniseOptions{State: "root"}, content)
	if err != nil {
		return nil
	}
	rest := content
	var current line
	for t := tokens(); t != chroma.EOF; t = tokens() {
		if over.Load() {
			return nil
		}
		value := t.Value
		if len(value) > len(rest) { // a line feed that the library has added
			value = strings.TrimSuffix(value, "\n")
		}
		var same bool
		if rest, same = strings.CutPrefix(rest, value); !same {
			return nil // what is shown is what was deployed
		}
		for i, piece := range strings.Split(value, "\n") {
			if i > 0 {
				all, current = append(all, current), nil
			}
			current = current.add(classOf(t.Type), piece)
		}
	}
	if rest != "" {
		return nil
	}
	if current != nil {
		all = append(all, current)
	}
	return all
}

// classOf is the class of a token: the short names that Pygments and chroma have. What the stylesheet shows as any text
// has none.
func classOf(t chroma.TokenType) string {
	switch t {
	case chroma.Text, chroma.TextWhitespace, chroma.Punctuation, chroma.Operator, chroma.Error, chroma.Name,
		chroma.NameOther, chroma.NameVariable, chroma.Other:
		return ""
	}
	for _, t := range []chroma.TokenType{t, t.SubCategory(), t.Category()} {
		if class, ok := chroma.StandardTypes[t]; ok {
			return class
		}
	}
	return ""
}

// plainLines cuts a text into lines.
func plainLines(content string) (all []line) {
	for one := range strings.Lines(content) {
		all = append(all, line{{Text: visible(strings.TrimSuffix(one, "\n"))}})
	}
	return all
}

// visible shows what can hide something: a character that turns the direction of a text, or has no shape.
func visible(s string) string {
	if !strings.Contains(s, "\t") {
		return text.Printable(s)
	}
	parts := strings.Split(s, "\t")
	for i, part := range parts {
		parts[i] = text.Printable(part)
	}
	return strings.Join(parts, "\t")
}
