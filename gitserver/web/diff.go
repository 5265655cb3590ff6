package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/gitserver/web/code"
)

const (
	// maxChanges is how many files that differ are named on a page.
	maxChanges = 500
	// maxDiffs, maxDiffBytes, maxDiffLines: of so many files is shown what differs, if none is larger, and not more lines.
	maxDiffs, maxDiffBytes, maxDiffLines = 50, 128 << 10, 3000
)

// changes are the files that differ between two deploys.
type changes struct {
	links
	Before, After record.ID // 0: the first deploy has none before it
	All           []diffFile
	More          bool // there are more
	Unknown       string
}

// diffFile is one of them.
type diffFile struct {
	links
	Path     string // raw bytes
	Status   string // added, deleted, changed, of another kind
	Mode     string // what changed of it; "": nothing
	Why      string // the contents are not shown; "": they are
	Has, Had bool   // there is a file to look at, after or before
	Added    int
	Deleted  int
	Hunks    []code.Hunk
	Before   record.ID
	After    record.ID
}

// differ compares two deploys for one page.
type differ struct {
	w      *Web
	chain  *store.Chain
	links  links
	before *record.Deploy
	after  *record.Deploy
	only   string // the path of the one file that is asked for; "": all
	colors *code.Page
	diffs  int
	lines  int
}

// changes lists what differs.
func (d *differ) changes(ctx context.Context) (changes, error) {
	all := changes{links: d.links, Before: d.before.ID, After: d.after.ID}
	var found []store.Change
	err := d.chain.Diff(ctx, d.before, d.after, func(c store.Change) error {
		switch {
		case d.only != "" && c.Path != d.only && !strings.HasPrefix(c.Path, d.only+"/"):
			return nil
		case len(found) == maxChanges:
			all.More = true
			return errEnough
		}
		found = append(found, c.Clone())
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return all, err
	}
	for _, c := range found {
		one, err := d.file(ctx, c)
		if err != nil {
			return all, err
		}
		all.All = append(all.All, one)
	}
	return all, nil
}

var statusWords = map[string]string{"A": "added", "D": "deleted", "M": "changed", "T": "now of another kind"}

// file shows what differs in one file.
func (d *differ) file(ctx context.Context, c store.Change) (diffFile, error) {
	one := diffFile{
		links: d.links, Path: c.Path, Status: statusWords[c.Status()], Before: d.before.ID, After: d.after.ID,
		Has: isFile(c.New), Had: isFile(c.Old),
	}
	if c.Old != nil && c.New != nil && c.Old.Mode != c.New.Mode {
		one.Mode = kindOf(c.Old) + " → " + kindOf(c.New)
	}
	switch {
	case c.Old != nil && c.New != nil && c.Old.OID == c.New.OID && c.Old.SHA256 == c.New.SHA256:
		return one, nil
	case sizeOf(c.Old) > maxDiffBytes || sizeOf(c.New) > maxDiffBytes:
		one.Why = fmt.Sprintf("larger than %s", text.Size(maxDiffBytes))
		return one, nil
	case d.diffs == maxDiffs || d.lines >= maxDiffLines:
		one.Why = "there is too much for one page: look at this file alone"
		return one, nil
	}
	d.diffs++
	old, err := d.content(ctx, d.before, c.Old)
	var new []byte
	if err == nil {
		new, err = d.content(ctx, d.after, c.New)
	}
	if fault.Is(err, fault.Corrupt) {
		one.Why = err.Error()
		return one, nil
	}
	if err != nil {
		return one, err
	}
	if text.IsBinary(old) || text.IsBinary(new) {
		one.Why = "binary"
		return one, nil
	}
	if err := d.w.comparing.Acquire(ctx, 1); err != nil { // of many short lines it takes much memory
		return one, err
	}
	hunks, added, deleted := text.CompareLines(old, new)
	d.w.comparing.Release(1)
	one.Added, one.Deleted = added, deleted
	if d.lines += bytes.Count(hunks, []byte("\n")); d.lines > maxDiffLines && d.only == "" {
		one.Why = "there is too much for one page: look at this file alone"
		return one, nil
	}
	name := path.Base(c.Path)
	one.Hunks = code.Hunks(hunks, d.colors.Lines(name, string(old)), d.colors.Lines(name, string(new)))
	return one, nil
}

// content is what is compared of a file: its content, a link's target, a submodule's commit.
func (d *differ) content(ctx context.Context, of *record.Deploy, e *tree.Entry) ([]byte, error) {
	switch {
	case e == nil:
		return nil, nil
	case e.Mode == filemode.Submodule:
		return []byte("Subproject commit " + e.OID.String() + "\n"), nil
	}
	var b bytes.Buffer
	err := d.chain.Content(ctx, of, *e, &b)
	return b.Bytes(), err
}

// sizeOf is a content's size, in bytes.
func sizeOf(e *tree.Entry) int64 {
	if e == nil || e.Mode == filemode.Submodule {
		return 0
	}
	return e.Size
}

// isFile tells whether there is a content to look at.
func isFile(e *tree.Entry) bool {
	return e != nil && e.Mode != filemode.Submodule && e.Mode != filemode.Dir
}

// kindOf names what an entry is.
func kindOf(e *tree.Entry) string {
	switch e.Mode {
	case filemode.Executable:
		return "executable"
	case filemode.Symlink:
		return "symbolic link"
	case filemode.Submodule:
		return "submodule"
	case filemode.Dir:
		return "directory"
	}
	return "file"
}
