package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/hooks/install"
	"refship/hooks/notes"
	"refship/hooks/target"
)

type notesCmd struct {
	storeFlags
	Repo string `placeholder:"DIR" help:"In place of a NAME, take the repository that DIR is in, with hooks of refship's, and etcd from its git config."`
	Name string `arg:"" optional:"" name:"name" complete:"repo" help:"The repository's name."`
}

func (*notesCmd) Help() string {
	return "The server, or an installed hook, notes each deploy at its commit, at refs/notes/deploys. In a clone: " +
		"git fetch REMOTE refs/notes/deploys:refs/notes/deploys, then git log --notes=deploys. " +
		"This makes all of these notes anew from the chains of the repository's targets. The server may run."
}

// Run makes the notes.
func (c *notesCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	at, err := c.find(ctx, a)
	if err != nil {
		return err
	}
	log := quietLog(a)
	client, err := c.connectFor(ctx, a, at.settings, func(line string) { a.tell(line) }, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	store := newStore(client, nil, log)
	var chains []*deploy.Chain
	for _, ns := range target.Namespaces(at.targets) {
		chains = append(chains, store.Chain(ns))
	}
	result, err := notes.Update(ctx, at.gitDir, chains, true)
	if err != nil {
		return err
	}
	a.say("noted %s at %s of %s", text.Count(result.Deploys, "deploy"), text.Count(result.Commits, "commit"), at.name)
	return nil
}

// noted is a repository that gets notes.
type noted struct {
	name, gitDir string
	targets      []target.Target
	settings     target.Settings // of one with installed hooks
}

// find finds the repository, which must be this user's: git makes files in it.
func (c *notesCmd) find(ctx context.Context, a *app) (noted, error) {
	switch {
	case c.Name == "" && c.Repo == "":
		return noted{}, usagef("a repository is missing: NAME of the data directory, or --repo DIR")
	case c.Name != "" && c.Repo != "":
		return noted{}, usagef("a name and --repo can't be given together")
	case c.Name != "":
		repo, dir, err := findRepo(a, c.dataFlag, c.Name)
		if err != nil {
			return noted{}, err
		}
		return noted{name: repo.Name, gitDir: repo.Dir, targets: repo.Targets}, dir.checkOwner()
	}
	repo, err := install.Find(ctx, c.Repo)
	if err != nil {
		return noted{}, err
	}
	config, err := target.Read(repo.GitDir)
	if err == nil && len(config.Targets) == 0 {
		err = fault.New(fault.Usage, "the repository's git config has no target",
			"refship's hooks have one: refship hook install "+text.Quote(repo.GitDir))
	}
	if err != nil {
		return noted{}, err
	}
	name := cmp.Or(config.Settings.Repository, repo.Name())
	return noted{name, repo.GitDir, config.Targets, config.Settings}, checkNotes(repo.GitDir)
}

// checkNotes refuses to write git's objects as root into another user's repository: they would be in that one's way.
func checkNotes(gitDir string) error {
	info, err := os.Stat(gitDir)
	if err != nil {
		return fmt.Errorf("look at the repository: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == 0 || os.Geteuid() != 0 {
		return nil
	}
	owner := userName(int(stat.Uid))
	return fault.New(fault.Failed, fmt.Sprintf("repository %s belongs to %s, and you are root", gitDir, owner),
		fmt.Sprintf("sudo -u %s refship notes --repo %s", text.Quote(owner), text.Quote(gitDir)))
}

// note brings the notes of a repository up to what a command has deployed; one without targets has none. It is no
// failure of the command if that does not work: the next deploy does it, or refship notes.
func (d *openDeployer) note(ctx context.Context, a *app, gitDir string) {
	if gitDir == "" {
		return
	}
	targets, err := target.ReadTargets(gitDir)
	if err == nil && len(targets) == 0 {
		return
	}
	if err = errors.Join(err, checkNotes(gitDir)); err == nil {
		_, err = d.Note(ctx, gitDir, false)
	}
	if err != nil {
		a.warn(fmt.Errorf("deployed, but not noted at refs/notes/deploys: %w", err))
	}
}

// notePushed is note of an installed post-receive: git push waits for it, so that it has little time.
func (d *openDeployer) notePushed(ctx context.Context, a *app, gitDir string) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := d.Note(ctx, gitDir, false); err != nil {
		a.warn(fmt.Errorf("refs/notes/deploys does not tell of all deploys: %w", err))
		a.sayLines("hint", "for the operator of this repository: refship notes --repo "+text.Quote(gitDir))
	}
}
