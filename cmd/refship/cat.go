package main

import (
	"bufio"
	"context"
)

type catCmd struct {
	chainFlags
	ID   deployID `arg:"" name:"id" help:"The deploy's number, or head."`
	Path string   `arg:"" help:"The file; of a link, what it points to is written."`
}

// Run writes the file's bytes as they are.
func (c *catCmd) Run(ctx context.Context, a *app) (err error) {
	chain, err := c.open(ctx, a)
	if err != nil {
		return err
	}
	defer closeInto(&err, chain)
	d, err := chain.deploy(ctx, c.ID)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(a.stdout, 1<<16)
	defer flushInto(&err, out)
	return chain.Cat(ctx, d, c.Path, out)
}
