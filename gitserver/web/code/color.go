package code

import (
	"context"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/chroma/v2"
	"golang.org/x/sync/semaphore"

	"refship/deploy/text"
)

const (
	// maxColored is the size, in bytes, up to which a text is colored.
	maxColored = 256 << 10
	// colorsAtOnce bounds how many texts are colored at the same time, also when nobody waits any more.
	colorsAtOnce = 2
	// maxJoined is the size, in bytes, from which on a span is not made longer: a lexer may hand out letter by letter.
	maxJoined = 128
)

// Span is a piece of a line; Class is one of the stylesheet's, "" for none.
type Span struct{ Class, Text string }

// Line is a line of a text, without its end.
type Line []Span

// add appends a piece of text.
func (l Line) add(class, piece string) Line {
	if piece == "" {
		return l
	}
	piece = visible(piece)
	if last := len(l) - 1; last >= 0 && l[last].Class == class && len(l[last].Text) < maxJoined {
		l[last].Text += piece
		return l
	}
	return append(l, Span{class, piece})
}

// Colors colors texts, for many pages at a time.
type Colors struct {
	turns *semaphore.Weighted
	limit time.Duration
}

// New makes a Colors. limit is how long a page waits for its colors: then what is left has none.
func New(limit time.Duration) *Colors { return &Colors{semaphore.NewWeighted(colorsAtOnce), limit} }

// Page colors the texts of one page.
type Page struct {
	turns *semaphore.Weighted
	until time.Time
}

// NewPage begins a page: its time runs.
func (c *Colors) NewPage() *Page { return &Page{c.turns, time.Now().Add(c.limit)} }

// Lines cuts a text into lines, colored by what its file's name says it is. A lexer's regular expressions may take very
// long for a text that was made for it. So it works beside, and what is not there in time has no colors.
func (p *Page) Lines(name, content string) []Line {
	if len(content) > maxColored || !utf8.ValidString(content) {
		return Plain(content)
	}
	lexer := lexers().Match(name)
	if lexer == nil {
		return Plain(content)
	}
	ctx, cancel := context.WithDeadline(context.Background(), p.until)
	defer cancel()
	if err := p.turns.Acquire(ctx, 1); err != nil {
		return Plain(content)
	}
	var over atomic.Bool
	done := make(chan []Line, 1)
	go func() {
		defer p.turns.Release(1)
		done <- lex(lexer, content, &over)
	}()
	select {
	case colored := <-done:
		if colored != nil {
			return colored
		}
	case <-ctx.Done():
		over.Store(true)
	}
	return Plain(content)
}

// lex colors a text; nil if that cannot be done, or is over.
func lex(lexer chroma.Lexer, content string, over *atomic.Bool) (all []Line) {
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
	var current Line
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

// Plain cuts a text into lines.
func Plain(content string) (all []Line) {
	for one := range strings.Lines(content) {
		all = append(all, Line{{Text: visible(strings.TrimSuffix(one, "\n"))}})
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
