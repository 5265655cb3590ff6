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
	Path []string   `arg:"" help:"The files, which are written one after the other. Of a symbolic link, the path that it holds is written."`
}

// Run writes the files' bytes as they are.
func (c *catCmd) Run(ctx context.Context, a *app) error {
	var paths []string
	for _, arg := range c.Path {
		where, err := treePath(arg)
		if err != nil {
			return err
		}
		if where == "" || strings.HasSuffix(where, "/") {
			return fault.New(fault.Usage,
				fmt.Sprintf("<path>: %q is a directory, and cat writes files", arg),
				"to list the directory: refship ls ID PATH")
		}
		paths = append(paths, where)
	}
	return c.readDeploy(ctx, a, c.ID, true, func(chain *store.Chain, d *record.Deploy, out io.Writer) error {
		return chain.Cat(ctx, d, out, paths...)
	})
}
