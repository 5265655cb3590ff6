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
	ID  deployName `arg:"" name:"deploy" help:"${deploy}"`
	Dir string     `arg:"" help:"The directory to make. It must not exist, and appears whole or not at all."`
}

// Run writes the deploy's tree. Every byte is verified.
func (c *checkoutCmd) Run(ctx context.Context, a *app) error {
	return c.readDeploy(ctx, a, c.ID, true, func(chain *store.Chain, d *record.Deploy, _ io.Writer) error {
		bar := newProgressBar(a.stderr, a.now)
		var last text.Progress
		err := chain.Checkout(ctx, d, c.Dir, func(p text.Progress) {
			last = p
			bar.update(p)
		})
		bar.clear()
		if err != nil {
			return err
		}
		a.say("deploy %d, %s, is in %s: %s, %s", d.ID, d.ShortHash(), text.Printable(c.Dir),
			text.Count(last.Files, "file"), text.Size(last.Bytes))
		return nil
	})
}
