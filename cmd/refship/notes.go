package main

import (
	"context"

	"refship/deploy"
	"refship/deploy/text"
	"refship/hooks/notes"
	"refship/hooks/target"
)

type notesCmd struct {
	storeFlags
	Repo string `arg:"" placeholder:"REPO" help:"The repository's name."`
}

func (*notesCmd) Help() string {
	return "The server notes each deploy at its commit, at refs/notes/deploys. In a clone: " +
		"git fetch REMOTE refs/notes/deploys:refs/notes/deploys, then git log --notes=deploys. " +
		"This makes all of these notes anew from the chains of the repository's targets. The server may run."
}

// Run makes the notes.
func (c *notesCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	repo, dir, err := findRepo(a, c.dataFlag, c.Repo)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	log := quietLog(a)
	client, err := c.connect(ctx, a, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	store := newStore(client, nil, log)
	var chains []*deploy.Chain
	for _, ns := range target.Namespaces(repo.Targets) {
		chains = append(chains, store.Chain(ns))
	}
	result, err := notes.Update(ctx, repo.Dir, chains, true)
	if err != nil {
		return err
	}
	a.say("noted %s at %s of %s", text.Count(result.Deploys, "deploy"), text.Count(result.Commits, "commit"), repo.Name)
	return nil
}

// note brings the notes of a server's own repository up to what a command has deployed; others are not refship's. It is
// no failure of the command if that does not work: the server does it, or refship notes.
func (d *openDeployer) note(ctx context.Context, a *app, gitDir string) {
	if _, served := servedFrom(gitDir); !served {
		return
	}
	if _, err := d.Note(ctx, gitDir, false); err != nil {
		a.warn(err)
	}
}
