package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"refship/deploy/fault"
)

type catCmd struct {
	chainFlags
	ID   deployID `arg:"" name:"id" help:"The deploy's number, or head."`
	Path string   `arg:"" help:"The file. Of a symbolic link, the path that it holds is written."`
}

// Run writes the file's bytes as they are.
func (c *catCmd) Run(ctx context.Context, a *app) (err error) {
	where, err := treePath(c.Path)
	if err != nil {
		return err
	}
	if where == "" || strings.HasSuffix(where, "/") {
		return fault.New(fault.Usage,
			fmt.Sprintf("<path>: %q is a directory, and cat writes a file", c.Path),
			"to list the directory: refship ls ID PATH")
	}
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
	return chain.Cat(ctx, d, where, out)
}
