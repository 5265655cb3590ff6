package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

type catCmd struct {
	chainFlags
	ID   deployName `arg:"" name:"deploy" help:"${deploy}"`
	Path string     `arg:"" help:"The file. Of a symbolic link, the path that it holds is written."`
}

// Run writes the file's bytes as they are.
func (c *catCmd) Run(ctx context.Context, a *app) error {
	where, err := treePath(c.Path)
	if err != nil {
		return err
	}
	if where == "" || strings.HasSuffix(where, "/") {
		return fault.New(fault.Usage,
			fmt.Sprintf("<path>: %q is a directory, and cat writes a file", c.Path),
			"to list the directory: refship ls ID PATH")
	}
	return c.readDeploy(ctx, a, c.ID, true, func(chain *store.Chain, d *record.Deploy, out io.Writer) error {
		return chain.Cat(ctx, d, where, out)
	})
}
