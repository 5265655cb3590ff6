package main

import (
	"context"
	"io"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

type checkoutCmd struct {
	chainFlags
	witnessFlags
	ID   deployName `arg:"" name:"deploy" help:"${deploy}"`
	Dir  string     `arg:"" help:"The directory to make. It must not exist, and appears whole or not at all."`
	JSON bool       `help:"Print one JSON object once the directory is there: namespace, id, hash, dir, files, bytes."`
}

// checkoutJSON is what was checked out, for programs.
type checkoutJSON struct {
	Namespace record.Namespace `json:"namespace"`
	ID        record.ID        `json:"id"`
	Hash      record.Hash      `json:"hash"`  // "" for a foreign deploy without one
	Dir       string           `json:"dir"`   // as it was given
	Files     int              `json:"files"` // with symbolic links, without submodules
	Bytes     int64            `json:"bytes"` // of them all
}

// Run writes the deploy's tree. Every byte is verified.
func (c *checkoutCmd) Run(ctx context.Context, a *app) error {
	return c.readDeploy(ctx, a, c.ID, true, func(chain *store.Chain, d *record.Deploy, out io.Writer) error {
		covered, err := c.covered(ctx, chain)
		if covered != nil && err == nil {
			err = covered.Has(ctx, chain, d)
		}
		if err != nil {
			return err
		}
		bar := newProgressBar(a.stderr, a.now)
		var last text.Progress
		err = chain.Checkout(ctx, d, c.Dir, func(p text.Progress) {
			last = p
			bar.update(p)
		})
		bar.clear()
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(out, checkoutJSON{chain.Namespace(), d.ID, d.Hash, c.Dir, last.Files, last.Bytes})
		}
		a.say("deploy %d, %s, is in %s: %s, %s", d.ID, d.ShortHash(), text.Printable(c.Dir),
			text.Count(last.Files, "file"), text.Size(last.Bytes))
		return nil
	})
}
