package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

type diffCmd struct {
	chainFlags
	A          deployName `arg:"" name:"a" help:"The older deploy; alone, it is compared with the one before. ${deploy}"`
	B          deployName `arg:"" optional:"" name:"b" help:"The newer deploy, of the same chain."`
	NameStatus bool       `xor:"format" help:"Print a letter and the path of each file. This is the default."`
	Patch      bool       `short:"p" xor:"format" help:"Print what differs in the contents, as git diff. git apply takes it. A file that is no text, or over 2 MiB, is named."`
	Stat       bool       `xor:"format" help:"Print how many lines differ in each file, as git diff --stat."`
	JSON       bool       `xor:"format" help:"Print one line of JSON per file: status, path, and mode, oid, size and sha256 on both sides."`
}

func (*diffCmd) Help() string {
	return "The default format is that of git diff --name-status --no-renames: A for added, D for deleted, " +
		"M for modified, T for another kind (file, link, submodule), then a tab and the path. " +
		"Both deploys are read from etcd; no repository is needed."
}

// Run lists the files that differ, by path. Every node that is read is verified against its record.
func (c *diffCmd) Run(ctx context.Context, a *app) error {
	chain, first, err := c.resolve(a, c.A)
	if err != nil {
		return err
	}
	ofSecond, second, err := c.resolve(a, c.B)
	if err != nil {
		return err
	}
	if chain == "" {
		chain = ofSecond
	}
	if ofSecond != "" && ofSecond != chain {
		return usagef("%s and %s are two chains: only deploys of one can be compared", text.Mention(chain),
			text.Mention(ofSecond))
	}
	return c.read(ctx, a, chain, func(chain *store.Chain, out io.Writer) error {
		before, after, err := c.both(ctx, a, chain, first, second)
		if err != nil {
			return err
		}
		if err := c.judgeBoth(ctx, a, chain, before, after); err != nil {
			return err
		}
		return c.diff(ctx, a, chain, before, after, out)
	})
}

// both are the deploys to compare.
func (c *diffCmd) both(ctx context.Context, a *app, chain *store.Chain, first, second record.Selector) (
	before, after *record.Deploy, err error,
) {
	if before, err = c.find(ctx, a, chain, first); err != nil {
		return nil, nil, err
	}
	if c.B != (deployName{}) {
		after, err = c.find(ctx, a, chain, second)
		return before, after, err
	}
	if after = before; after.ID == 1 {
		return nil, nil, fmt.Errorf("deploy 1 of %s is the first: there is none before it to compare it with",
			chain.Namespace())
	}
	before, err = chain.Get(ctx, after.ID-1)
	return before, after, err
}

func (c *diffCmd) diff(
	ctx context.Context, a *app, chain *store.Chain, before, after *record.Deploy, out io.Writer,
) error {
	counts, contents, table := map[string]int{}, &comparer{chain: chain, before: before, after: after}, &diffStat{}
	walk := func(ctx context.Context, each func(store.Change) error) error {
		return chain.Diff(ctx, before, after, func(change store.Change) error {
			counts[change.Status()]++
			return each(change)
		})
	}
	var err error
	switch {
	case c.JSON:
		err = walk(ctx, func(change store.Change) error {
			return writeJSON(out, newChangeJSON(change.Status(), change))
		})
	case c.Patch:
		err = contents.eachOfPatch(ctx, walk, out)
	case c.Stat:
		err = contents.each(ctx, walk, func(change store.Change, found lines) error {
			table.add(change, found)
			return nil
		})
	default:
		err = walk(ctx, func(change store.Change) error { return writeChange(out, change.Status(), change.Path) })
	}
	if err == nil {
		err = table.write(out)
	}
	if err != nil {
		return err
	}
	if before.Record != nil && after.Record != nil && before.Record.Path != after.Record.Path {
		a.say("deploy %d holds %s, deploy %d %s", before.ID, pathWords(text.Printable(before.Record.Path)),
			after.ID, pathWords(text.Printable(after.Record.Path)))
	}
	if len(contents.tooLarge) > 0 { // a file that became a link is there twice
		a.say("over %s, and not compared by line: %s", text.Size(maxCompared),
			text.FirstFew(quoteAll(slices.Compact(contents.tooLarge))))
	}
	a.say("deploy %d, %s → deploy %d, %s: %s",
		before.ID, before.ShortHash(), after.ID, after.ShortHash(), diffSummary(counts))
	return nil
}

// writeChange writes the line of git diff --name-status.
func writeChange(out io.Writer, status, path string) error {
	_, err := fmt.Fprintf(out, "%s\t%s\n", status, text.QuotePath(path))
	return err
}

func quoteAll(paths []string) []string {
	quoted := make([]string, len(paths))
	for i, path := range paths {
		quoted[i] = text.QuotePath(path)
	}
	return quoted
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
