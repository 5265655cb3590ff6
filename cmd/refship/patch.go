package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"golang.org/x/sync/errgroup"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxCompared is the size, in bytes, up to which contents are compared line by line. Of lines of a byte that takes 120
// times as much memory: some 250 MiB.
const maxCompared = 2 << 20

// comparedAhead is how many files are read and compared before they are written.
const comparedAhead = 16

// comparer compares the contents of two deploys, some files at a time.
type comparer struct {
	chain         *store.Chain
	before, after *record.Deploy
	tooLarge      []string // paths of files that may be text and were not compared

	byLine sync.Mutex // two files at a time would take twice the memory
}

// compared is a change whose contents are being compared.
type compared struct {
	store.Change
	done  chan struct{} // closed when found or err is known
	found lines
	err   error
}

// each compares the contents of the changes that walk gives, and hands them to show in their order.
func (c *comparer) each(
	ctx context.Context, walk func(context.Context, func(store.Change) error) error, show func(store.Change, lines) error,
) error {
	group, ctx := errgroup.WithContext(ctx)
	queue := make(chan *compared, comparedAhead)
	group.Go(func() error {
		defer close(queue)
		return walk(ctx, func(change store.Change) error {
			one := &compared{Change: change, done: make(chan struct{})}
			select {
			case queue <- one:
			case <-ctx.Done():
				return ctx.Err()
			}
			group.Go(func() error { // its error is told in its turn
				defer close(one.done)
				one.found, one.err = c.compare(ctx, change)
				return nil
			})
			return nil
		})
	})
	group.Go(func() error {
		for one := range queue {
			<-one.done
			if one.err != nil {
				return one.err
			}
			if one.found.tooLarge {
				c.tooLarge = append(c.tooLarge, one.Path)
			}
			if err := show(one.Change, one.found); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
}

// lines is how the contents of a change differ.
type lines struct {
	hunks          []byte // as git diff writes them; none if the contents are equal
	added, deleted int    // lines
	binary         bool   // they are not compared by line: one of them is no text, or too large
	tooLarge       bool   // one of them is
}

// compare reads what a change is about.
func (c *comparer) compare(ctx context.Context, change store.Change) (lines, error) {
	before, after := change.Old, change.New
	if before != nil && after != nil && before.OID == after.OID && before.SHA256 == after.SHA256 {
		return lines{}, nil
	}
	if contentSize(before) > maxCompared || contentSize(after) > maxCompared {
		return lines{binary: true, tooLarge: true}, nil
	}
	old, err := c.content(ctx, c.before, before)
	if err != nil {
		return lines{}, err
	}
	new, err := c.content(ctx, c.after, after)
	if err != nil {
		return lines{}, err
	}
	if text.IsBinary(old) || text.IsBinary(new) {
		return lines{binary: true}, nil
	}
	c.byLine.Lock()
	defer c.byLine.Unlock()
	var found lines
	found.hunks, found.added, found.deleted = text.CompareLines(old, new)
	return found, nil
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

// eachOfPatch is each with the changes of a patch.
func (c *comparer) eachOfPatch(
	ctx context.Context, walk func(context.Context, func(store.Change) error) error, out io.Writer,
) error {
	parts := func(ctx context.Context, each func(store.Change) error) error {
		return walk(ctx, func(change store.Change) error {
			for _, part := range ofPatch(change) {
				if err := each(part); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c.each(ctx, parts, func(change store.Change, found lines) error { return writePatch(out, change, found) })
}

// ofPatch are the changes that git's patch has for one: it deletes a file that became a link, and creates the link.
func ofPatch(change store.Change) []store.Change {
	if change.Status() == "T" {
		return []store.Change{{Path: change.Path, Old: change.Old}, {Path: change.Path, New: change.New}}
	}
	return []store.Change{change}
}

// writePatch writes a change of ofPatch as git diff --full-index --no-renames does (git-diff(1), "Generating patch text
// with -p").
func writePatch(out io.Writer, change store.Change, found lines) error {
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
	b.Write(found.hunks)
	_, err := out.Write(b.Bytes())
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
