package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

type lsCmd struct {
	chainFlags
	ID        deployName `arg:"" optional:"" name:"deploy" help:"${deploy}"`
	Path      string     `arg:"" optional:"" help:"A directory or file in it. Default: the whole tree."`
	Recursive bool       `help:"List everything below it, without the directories themselves, as git ls-tree -r."`
	Long      bool       `help:"Print the sha256, too, before the path: that of a file's content is its name in etcd."`
	JSON      bool       `help:"Print one line of JSON per entry, with its sha256 and its name unquoted."`
}

// Run lists entries. Every node that is read is verified against the record.
func (c *lsCmd) Run(ctx context.Context, a *app) error {
	where, err := treePath(c.Path)
	if err != nil {
		return err
	}
	return c.readDeploy(ctx, a, c.ID, false, func(chain *store.Chain, d *record.Deploy, out io.Writer) error {
		return chain.List(ctx, d, where, c.Recursive, func(path string, e tree.Entry) error {
			switch {
			case c.Recursive && e.Mode == filemode.Dir:
				return nil
			case c.JSON:
				return writeJSON(out, newEntryJSON(path, e))
			}
			return writeEntry(out, path, e, c.Long)
		})
	})
}

// treePath is a path in a deploy. It starts at the deploy's root with and without a leading slash.
func treePath(arg string) (string, error) {
	where := strings.TrimLeft(arg, "/")
	if where == "" {
		return "", nil
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(where, "/"), "/") {
		if tree.CheckName(name) != nil {
			return "", fault.New(fault.Usage,
				fmt.Sprintf("<path>: %q is not a path inside a tree", arg),
				"a path goes from the deploy's root and has no empty, '.', '..' or '.git' element, such as sites/main")
		}
	}
	return where, nil
}

// entryJSON is an entry for programs.
type entryJSON struct {
	pathJSON
	Mode   string `json:"mode"` // "100644", "100755", "120000", "040000", "160000"
	Type   string `json:"type"` // "blob", "tree", "commit"
	OID    string `json:"oid"`
	Size   int64  `json:"size"`   // bytes; of the node's text for a tree
	SHA256 string `json:"sha256"` // of the same bytes; "" for a submodule
}

func newEntryJSON(path string, e tree.Entry) entryJSON {
	entry := entryJSON{
		pathJSON: newPathJSON(path), Mode: modeText(e.Mode), Type: entryType(e.Mode), OID: e.OID.String(), Size: e.Size,
	}
	if e.Mode != filemode.Submodule {
		entry.SHA256 = e.SHA256.String()
	}
	return entry
}

// writeEntry writes the line that `git ls-tree -l` writes for the same entry; if it is to be long, with the sha256
// behind the size.
func writeEntry(w io.Writer, path string, e tree.Entry, long bool) error {
	size, sum := "-", ""
	if entryType(e.Mode) == "blob" {
		size = strconv.FormatInt(e.Size, 10)
	}
	switch {
	case long && e.Mode == filemode.Submodule:
		sum = " " + strings.Repeat("-", len(e.SHA256.String()))
	case long:
		sum = " " + e.SHA256.String()
	}
	_, err := fmt.Fprintf(w, "%s %s %s %7s%s\t%s\n", modeText(e.Mode), entryType(e.Mode), e.OID, size, sum,
		text.QuotePath(path))
	return err
}

// modeText is a mode as git prints it.
func modeText(mode filemode.FileMode) string { return fmt.Sprintf("%06o", uint32(mode)) }

func entryType(mode filemode.FileMode) string {
	switch mode {
	case filemode.Dir:
		return "tree"
	case filemode.Submodule:
		return "commit"
	}
	return "blob"
}
