package main

import (
	"context"
	"errors"
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
		allowed, err := c.allowed(a)
		if err != nil {
			return err
		}
		rows := out
		if c.JSON {
			rows = io.Discard
		}
		table, signatures, newest := record.NewTable(rows, a.now(), allowed), new(unjudged), (*record.Record)(nil)
		events, err := chain.Events(ctx)
		if err != nil {
			return err
		}
		table.Among(events)
		err = chain.Log(ctx, int(c.Limit), func(d *record.Deploy) error {
			signatures.add(d)
			if newest == nil {
				newest = d.Record
			}
			if c.JSON {
				if err := writeJSON(out, describe(d)); err != nil {
					return err
				}
			}
			return table.Add(d)
		})
		if err != nil {
			_, err = table.End(err)
			return err
		}
		empty, damage := table.End(nil)
		if empty {
			if err := c.checkKnown(a, chain.Namespace()); err != nil {
				return err
			}
			a.say("%s", chain.Namespace().Undeployed())
		}
		signatures.tell(a, allowed)
		if state, err := chain.State(ctx); err == nil {
			for _, odd := range state.Warnings(chain.Namespace(), newest, a.now()) {
				a.warn(errors.New(odd))
			}
		}
		return damage
	})
}
