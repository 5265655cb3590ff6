// Package code makes lines of texts and of their diffs, in colors, for a page to show.
//
// # Words
//
// A [Span] is a piece of a [Line], and its class is the short name that Pygments has for what it is: "k" a keyword, "s"
// a string. A [Hunk] is a piece of a diff as git writes it, with the lines of both texts. Package chroma finds out what
// is what.
//
// # Lexers
//
// The directory lexers has those of chroma 2.27 for what is often deployed, under chroma's license (COPYING). Those of
// Go and Markdown are code there; chroma.Marshal wrote them as XML, without the templates in Go's raw strings.
//
// # Invariants
//
//   - What is shown is, letter for letter, the text: where chroma says something else, it has no colors.
//   - What is not printable, or turns the direction of a text, is escaped visibly; only tabs stay.
//   - Nothing here is HTML: who shows it escapes it.
//   - A page waits for its colors only so long, however slow a text makes a lexer, and texts over 256 KiB have none.
//
// # Concurrency
//
// A [Colors] is for many goroutines, a [Page] for one. Two texts are colored at a time, beside the pages that wait for
// them; one that takes too long goes on alone, and is dropped.
package code
