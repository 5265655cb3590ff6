package text

import (
	"bytes"

	"github.com/rogpeppe/go-internal/diff"
)

// IsBinary tells what git takes for no text: a zero byte is among the first 8,000 (buffer_is_binary in git's
// xdiff-interface.c).
func IsBinary(content []byte) bool { return bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0 }

// CompareLines makes the hunks of two texts, as git diff writes them, none if they are equal, and counts lines. Unlike
// git, the library writes "1,1" for one line, and a header, which has neither modes nor oids.
func CompareLines(old, new []byte) (hunks []byte, added, deleted int) {
	var b bytes.Buffer
	for line := range bytes.Lines(diff.Diff("", old, "", new)) {
		inHunk := b.Len() > 0
		switch {
		case line[0] == '@':
			line = bytes.ReplaceAll(line, []byte(",1 "), []byte(" "))
		case !inHunk:
			continue // the header
		case line[0] == '+':
			added++
		case line[0] == '-':
			deleted++
		}
		b.Write(line)
	}
	return b.Bytes(), added, deleted
}
