package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/rogpeppe/go-internal/diff"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxCompared is the size, in bytes, up to which contents are compared line by line. Of lines of a byte that takes 120
// times as much memory: some 250 MiB.
const maxCompared = 2 << 20

// comparer compares the contents of two deploys, a file at a time.
type comparer struct {
	chain         *store.Chain
	before, after *record.Deploy
	tooLarge      []string // paths of files that may be text and were not compared
}

// lines is how the contents of a change differ.
type lines struct {
	hunks          []byte // as git diff writes them; none if the contents are equal
	added, deleted int    // lines
	binary         bool   // they are not compared by line: one of them is no text, or too large
}

// compare reads what a change is about.
func (c *comparer) compare(ctx context.Context, change store.Change) (lines, error) {
	before, after := change.Old, change.New
	if before != nil && after != nil && before.OID == after.OID && before.SHA256 == after.SHA256 {
		return lines{}, nil
	}
	if contentSize(before) > maxCompared || contentSize(after) > maxCompared {
		if n := len(c.tooLarge); n == 0 || c.tooLarge[n-1] != change.Path { // a file that became a link comes twice
			c.tooLarge = append(c.tooLarge, change.Path)
		}
		return lines{binary: true}, nil
	}
	old, err := c.content(ctx, c.before, before)
	if err != nil {
		return lines{}, err
	}
	new, err := c.content(ctx, c.after, after)
	if err != nil {
		return lines{}, err
	}
	if isBinary(old) || isBinary(new) {
		return lines{binary: true}, nil
	}
	return compareLines(old, new), nil
}

// contentSize is a content's size in bytes; 0 of a submodule, and of what is not there.
func contentSize(e *tree.Entry) int64 {
	if e == nil || e.Mode == filemode.Submodule {
		return 0
	}
	return e.Size
}

// content is what git compares: a file's content, a link's target, a line for a submodule.
func (c *comparer) content(ctx context.Context, d *record.Deploy, e *tree.Entry) ([]byte, error) {
	switch {
	case e == nil:
		return nil, nil
	case e.Mode == filemode.Submodule:
		return []byte("Subproject commit " + e.OID.String() + "\n"), nil
	}
	var b bytes.Buffer
	b.Grow(int(e.Size))
	err := c.chain.Content(ctx, d, *e, &b)
	return b.Bytes(), err
}

// isBinary tells what git takes for no text: a zero byte is among the first 8,000 (buffer_is_binary in git's
// xdiff-interface.c).
func isBinary(content []byte) bool { return bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0 }

// compareLines makes hunks of two texts. Unlike git, the library writes "1,1" for one line, and a header, which has
// neither modes nor oids.
func compareLines(old, new []byte) lines {
	var found lines
	var b bytes.Buffer
	for line := range bytes.Lines(diff.Diff("", old, "", new)) {
		inHunk := b.Len() > 0
		switch {
		case line[0] == '@':
			line = bytes.ReplaceAll(line, []byte(",1 "), []byte(" "))
		case !inHunk:
			continue // the header
		case line[0] == '+':
			found.added++
		case line[0] == '-':
			found.deleted++
		}
		b.Write(line)
	}
	found.hunks = b.Bytes()
	return found
}

// writePatch writes a change as git diff --full-index --no-renames does (git-diff(1), "Generating patch text with -p").
func (c *comparer) writePatch(ctx context.Context, out io.Writer, change store.Change) error {
	if change.Status() == "T" { // git deletes the one and creates the other
		gone, made := store.Change{Path: change.Path, Old: change.Old}, store.Change{Path: change.Path, New: change.New}
		if err := c.writePatch(ctx, out, gone); err != nil {
			return err
		}
		return c.writePatch(ctx, out, made)
	}
	found, err := c.compare(ctx, change)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	from, to := text.QuotePath("a/"+change.Path), text.QuotePath("b/"+change.Path)
	fmt.Fprintf(&b, "diff --git %s %s\n", from, to)
	writeModes(&b, change)
	if change.Old == nil {
		from = "/dev/null"
	}
	if change.New == nil {
		to = "/dev/null"
	}
	switch {
	case found.binary:
		fmt.Fprintf(&b, "Binary files %s and %s differ\n", from, to)
	case len(found.hunks) > 0:
		fmt.Fprintf(&b, "--- %s\n+++ %s\n", endName(from), endName(to))
	}
	if _, err := out.Write(b.Bytes()); err != nil {
		return err
	}
	_, err = out.Write(found.hunks)
	return err
}

// endName ends a name with a blank in it as git does, so that programs see where it ends.
func endName(name string) string {
	if strings.Contains(name, " ") {
		return name + "\t"
	}
	return name
}

// writeModes writes modes and oids.
func writeModes(w io.Writer, change store.Change) {
	before, after := change.Old, change.New
	switch {
	case before == nil:
		fmt.Fprintf(w, "new file mode %s\nindex %s..%s\n", modeText(after.Mode), noOID(after.OID), after.OID)
	case after == nil:
		fmt.Fprintf(w, "deleted file mode %s\nindex %s..%s\n", modeText(before.Mode), before.OID, noOID(before.OID))
	case before.Mode == after.Mode:
		fmt.Fprintf(w, "index %s..%s %s\n", before.OID, after.OID, modeText(after.Mode))
	default:
		fmt.Fprintf(w, "old mode %s\nnew mode %s\n", modeText(before.Mode), modeText(after.Mode))
		if before.OID != after.OID {
			fmt.Fprintf(w, "index %s..%s\n", before.OID, after.OID)
		}
	}
}

// noOID is the oid of what is not there, as long as another one.
func noOID(like tree.OID) string { return strings.Repeat("0", len(like.String())) }
