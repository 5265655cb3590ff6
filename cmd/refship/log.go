package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"refship/deploy"
)

type logCmd struct {
	chainFlags
	Limit number `short:"n" placeholder:"N" help:"Show at most N deploys."`
	JSON  bool   `help:"Print one JSON object a line and deploy."`
}

// logBlock is how many deploys are aligned with each other: a long chain is printed while it is read.
const logBlock = 500

// Run lists the chain from the head down.
func (c *logCmd) Run(ctx context.Context, a *app) (err error) {
	chain, err := c.open(ctx, a)
	if err != nil {
		return err
	}
	defer closeInto(&err, chain)
	out := bufio.NewWriter(a.stdout)
	defer flushInto(&err, out)
	table := &logTable{out: out, now: a.now()}
	empty := true
	err = chain.Log(ctx, int(c.Limit), func(d *deploy.Deploy) error {
		empty = false
		if c.JSON {
			return writeJSON(out, describe(d))
		}
		return table.add(d)
	})
	if err != nil {
		return err
	}
	if empty {
		a.say("%s has no deploys yet", chain.Namespace())
	}
	return table.flush()
}

// logTable prints deploys in columns.
type logTable struct {
	out    io.Writer
	now    time.Time
	rows   [][6]string
	widths [6]int
}

func (t *logTable) add(d *deploy.Deploy) error {
	row := logRow(d, t.now)
	for i, cell := range row {
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
	}
	if t.rows = append(t.rows, row); len(t.rows) == logBlock {
		return t.flush()
	}
	return nil
}

func (t *logTable) flush() error {
	var line strings.Builder
	for _, row := range t.rows {
		line.Reset()
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)))
		}
		if _, err := fmt.Fprintln(t.out, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

// logRow is id, hash, time, pusher, kind, subject.
func logRow(d *deploy.Deploy, now time.Time) [6]string {
	hash := d.Hash.Short()
	if hash == "" {
		hash = "-"
	}
	if d.Record == nil {
		return [6]string{d.ID.String(), hash, "-", d.By(), "foreign", ""}
	}
	subject := deploy.Printable(d.Record.Subject)
	if d.Record.Commits > 1 {
		subject = fmt.Sprintf("%s: %s", deploy.Count(d.Record.Commits, "commit"), subject)
	}
	kind := string(d.Record.Kind)
	if d.Record.Forced {
		kind += ", forced"
	}
	return [6]string{
		d.ID.String(), hash, deploy.Ago(now.Sub(d.Record.Time)), d.By(), deploy.Printable(kind), subject,
	}
}
