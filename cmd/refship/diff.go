package main

import (
	"context"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

type diffCmd struct {
	chainFlags
	A    record.Selector `arg:"" name:"a" help:"The older deploy: its number, head, or head~N."`
	B    record.Selector `arg:"" name:"b" help:"The newer deploy: its number, head, or head~N."`
	JSON bool            `help:"Print one line of JSON per file: status, path, and mode, oid, size and sha256 on both sides."`
}

func (*diffCmd) Help() string {
	return "The format is that of git diff --name-status --no-renames: A for added, D for deleted, M for modified, " +
		"T for another kind (file, link, submodule), then a tab and the path. " +
		"Both deploys are read from etcd; no repository is needed."
}

// Run lists the files that differ, by path. Every node that is read is verified against its record.
func (c *diffCmd) Run(ctx context.Context, a *app) error {
	return c.read(ctx, a, func(chain *store.Chain, out io.Writer) error {
		before, err := c.find(ctx, a, chain, c.A)
		if err != nil {
			return err
		}
		after, err := c.find(ctx, a, chain, c.B)
		if err != nil {
			return err
		}
		if err := c.judgeBoth(ctx, a, chain, before, after); err != nil {
			return err
		}
		return c.diff(ctx, a, chain, before, after, out)
	})
}

func (c *diffCmd) diff(
	ctx context.Context, a *app, chain *store.Chain, before, after *record.Deploy, out io.Writer,
) error {
	counts := map[string]int{}
	err := chain.Diff(ctx, before, after, func(change store.Change) error {
		status := change.Status()
		counts[status]++
		if c.JSON {
			return writeJSON(out, newChangeJSON(status, change))
		}
		_, err := fmt.Fprintf(out, "%s\t%s\n", status, text.QuotePath(change.Path))
		return err
	})
	if err != nil {
		return err
	}
	if before.Record != nil && after.Record != nil && before.Record.Path != after.Record.Path {
		a.say("deploy %d holds %s, deploy %d %s", before.ID, pathWords(text.Printable(before.Record.Path)),
			after.ID, pathWords(text.Printable(after.Record.Path)))
	}
	a.say("deploy %d, %s → deploy %d, %s: %s",
		before.ID, before.ShortHash(), after.ID, after.ShortHash(), diffSummary(counts))
	return nil
}

// diffSummary is "3 files differ: 1 added, 1 modified, 1 deleted".
func diffSummary(counts map[string]int) string {
	total, parts := 0, ""
	for _, status := range [][2]string{{"A", "added"}, {"M", "modified"}, {"T", "of another kind"}, {"D", "deleted"}} {
		if n := counts[status[0]]; n > 0 {
			total += n
			parts += fmt.Sprintf(", %d %s", n, status[1])
		}
	}
	switch total {
	case 0:
		return "no file differs"
	case 1:
		return "1 file differs:" + parts[1:]
	}
	return fmt.Sprintf("%d files differ:%s", total, parts[1:])
}

// changeJSON is a change for programs.
type changeJSON struct {
	Status string `json:"status"` // "A", "M", "T", "D"
	pathJSON
	Old *sideJSON `json:"old"` // null if added
	New *sideJSON `json:"new"` // null if deleted
}

// sideJSON is what one deploy has at a path.
type sideJSON struct {
	Mode   string `json:"mode"` // "100644", "100755", "120000", "160000"
	OID    string `json:"oid"`
	Size   int64  `json:"size"`   // bytes; 0 for a submodule
	SHA256 string `json:"sha256"` // "" for a submodule
}

func newChangeJSON(status string, c store.Change) changeJSON {
	return changeJSON{Status: status, pathJSON: newPathJSON(c.Path), Old: newSideJSON(c.Old), New: newSideJSON(c.New)}
}

func newSideJSON(e *tree.Entry) *sideJSON {
	if e == nil {
		return nil
	}
	side := &sideJSON{Mode: modeText(e.Mode), OID: e.OID.String(), Size: e.Size}
	if e.Mode != filemode.Submodule {
		side.SHA256 = e.SHA256.String()
	}
	return side
}
