package main

import (
	"context"
	"errors"
	"io"

	"refship/deploy/bundle"
	"refship/deploy/store"
	"refship/deploy/text"
)

type exportCmd struct {
	chainFlags
	Since moment `placeholder:"TIME" help:"Leave out files of deploys before TIME, as log --since does. Their records, signatures and commits are there all the same."`
	Chain string `arg:"" name:"chain" help:"REPO or REPO:TARGET of the data directory, or ssh://…. May be left out with --namespace, or if there is only one."`
	File  string `arg:"" optional:"" name:"file" help:"The file to make. It must not exist."`
}

func (*exportCmd) Help() string {
	return "The file is a bundle: all of a chain as it is now. Every command that reads a chain takes the file's path " +
		"in place of one, with a slash in it (refship log ./site.refship), and needs no etcd and no server for it. " +
		"refship verify proves it. refship import puts it into another etcd."
}

// Run writes the bundle.
func (c *exportCmd) Run(ctx context.Context, a *app) error {
	name, file := c.Chain, c.File
	if file == "" {
		name, file = "", c.Chain
	}
	return c.read(ctx, a, name, func(chain *store.Chain, _ io.Writer) error {
		bar := newProgressBar(a.stderr, a.now)
		from := bundle.Source{Chain: chain, Now: a.now(), Progress: bar.update}
		if c.Since.isSet {
			from.Since = c.Since.begin(a.now())
		}
		began := a.now()
		header, counts, err := bundle.Export(ctx, file, from)
		bar.clear()
		if err != nil {
			return c.noDeploys(a, chain, err)
		}
		since := ""
		if header.Since > 1 {
			since = ", files since deploy " + header.Since.String()
		}
		a.say("made %s in %s: %s up to deploy %d%s; %s, %s uncompressed", text.Printable(file),
			text.Took(a.now().Sub(began)), header.Namespace, header.Head, since, text.Size(counts.Size),
			text.Size(counts.Bytes))
		return nil
	})
}

// noDeploys gives err, or says that a namespace without deploys may be a typing error.
func (c *exportCmd) noDeploys(a *app, chain *store.Chain, err error) error {
	if !errors.Is(err, bundle.ErrNothing) {
		return err
	}
	if unknown := c.checkKnown(a, chain.Namespace()); unknown != nil {
		return unknown
	}
	return err
}
