package main

import (
	"context"
	"errors"
	"io"
	"time"

	"refship/deploy/record"
	"refship/deploy/store"
)

type logCmd struct {
	chainFlags
	Limit count  `short:"n" placeholder:"N|all" help:"Show at most N deploys. Default: all."`
	Chain string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
	JSON  bool   `help:"Print one line of JSON per deploy, and per hold and resume: kind, user, host, reason, time."`
}

// eventJSON is a hold or resume for programs. Only it has a kind: that of a deploy is in its record.
type eventJSON struct {
	Kind   record.EventKind `json:"kind"` // "hold" or "resume"
	User   string           `json:"user"`
	Host   string           `json:"host"`
	Reason string           `json:"reason"`
	Time   time.Time        `json:"time"` // RFC 3339
}

func (c *logCmd) Run(ctx context.Context, a *app) error {
	return c.read(ctx, a, c.Chain, func(chain *store.Chain, out io.Writer) error {
		allowed, err := c.allowed(a)
		if err != nil {
			return err
		}
		rows := out
		if c.JSON {
			rows = io.Discard
		}
		table, signatures, newest := record.NewTable(rows, a.now(), allowed), new(unjudged), (*record.Record)(nil)
		err = chain.Story(ctx, int(c.Limit), func(d *record.Deploy) error {
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
		}, func(e *record.Event) error {
			if c.JSON {
				return writeJSON(out, eventJSON{e.Kind, e.User, e.Host, e.Reason, e.Time})
			}
			return table.AddEvent(e)
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
