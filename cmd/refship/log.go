package main

import (
	"context"
	"io"

	"refship/deploy/record"
	"refship/deploy/store"
)

type logCmd struct {
	chainFlags
	Limit count `short:"n" placeholder:"N|all" help:"Show at most N deploys. Default: all."`
	JSON  bool  `help:"Print one line of JSON per deploy."`
}

func (c *logCmd) Run(ctx context.Context, a *app) error {
	return c.read(ctx, a, func(chain *store.Chain, out io.Writer) error {
		table := record.NewTable(out, a.now())
		empty := true
		err := chain.Log(ctx, int(c.Limit), func(d *record.Deploy) error {
			empty = false
			if c.JSON {
				return writeJSON(out, describe(d))
			}
			return table.Add(d)
		})
		if err != nil {
			return err
		}
		if empty {
			a.say("%s has no deploys yet", chain.Namespace())
		}
		return table.Flush()
	})
}
