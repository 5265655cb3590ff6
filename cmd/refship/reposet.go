package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

type repoSetCmd struct {
	dataFlag
	Name      string   `arg:"" complete:"repo" help:"The repository's name."`
	MaxStored *string  `placeholder:"SIZE" help:"How much the namespace of each target may hold in etcd, such as 500MiB; none for no limit; empty for the default, a quarter of etcd's quota. Files count by their size, whatever they compress to, and each version of a file counts."`
	Fsck      []string `sep:"none" placeholder:"ID=LEVEL" help:"What git makes of a flaw in an object that is pushed, by the message id that git names: ignore, warn or error; empty for git's own, which is error for most. For old history that cannot be changed: zeroPaddedFilemode=ignore. May be given several times."`
}

func (*repoSetCmd) Help() string {
	return "A push with which a namespace would hold more than --max-stored is refused before anything of it is stored. " +
		"--fsck writes git's own receive.fsck.ID. " +
		"refship repo show tells what the namespaces hold, and lists these settings. " + targetReads
}

// Run changes what is given.
func (c *repoSetCmd) Run(ctx context.Context, a *app) error {
	if c.MaxStored == nil && len(c.Fsck) == 0 {
		return usagef("nothing to set: --max-stored or --fsck is missing")
	}
	var limit record.Limit
	var err error
	if c.MaxStored != nil {
		if limit, err = record.ParseLimit(*c.MaxStored); err != nil {
			return asUsage("--max-stored", err)
		}
	}
	repo, dir, err := findRepo(a, c.dataFlag, c.Name)
	if err != nil {
		return err
	}
	if err := c.checkFsck(ctx, repo.Dir); err != nil {
		return err
	}
	if c.MaxStored != nil {
		if err := setMaxStored(ctx, a, repo, dir, limit); err != nil {
			return err
		}
	}
	return c.setFsck(ctx, a, repo, dir)
}

// checkFsck refuses what git would not take.
func (c *repoSetCmd) checkFsck(ctx context.Context, gitDir string) error {
	for _, setting := range c.Fsck {
		id, level, given := strings.Cut(setting, "=")
		if !given {
			return fault.New(fault.Usage, fmt.Sprintf("--fsck: %q has no level", text.Clip(setting)),
				"such as --fsck zeroPaddedFilemode=ignore; the levels are "+strings.Join(git.FsckLevels(), ", "))
		}
		if level == "" {
			level = git.FsckLevels()[len(git.FsckLevels())-1] // to take it out, the id must be one
		}
		if err := git.CheckFsck(ctx, gitDir, id, level); err != nil {
			return asUsage("--fsck", err)
		}
	}
	return nil
}

// setFsck changes what git makes of flaws, and says what is there now.
func (c *repoSetCmd) setFsck(ctx context.Context, a *app, repo *repos.Repository, dir dataDir) error {
	if len(c.Fsck) == 0 {
		return nil
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	before, err := git.ReadFsck(ctx, repo.Dir)
	if err != nil {
		return err
	}
	for _, setting := range c.Fsck {
		id, level, _ := strings.Cut(setting, "=")
		if err := dir.repos().SetFsck(ctx, repo.Name, id, level); err != nil {
			return err
		}
	}
	after, err := git.ReadFsck(ctx, repo.Dir)
	if err != nil {
		return err
	}
	change := ""
	if slices.Equal(before, after) {
		change = "no change: "
	} else {
		dir.note(ctx, a, "repo set: flaws in what is pushed to %s: %s", repo.Name, fsckWords(after))
	}
	a.say("%sflaws in what is pushed to %s: %s", change, repo.Name, fsckWords(after))
	return nil
}

// fsckWords say what git makes of flaws.
func fsckWords(all []string) string {
	if len(all) == 0 {
		return "git's own rules"
	}
	return strings.Join(all, ", ")
}

// setMaxStored changes how much the namespaces may hold.
func setMaxStored(ctx context.Context, a *app, repo *repos.Repository, dir dataDir, limit record.Limit) error {
	if limit == repo.Settings.MaxStored {
		a.say("no change: %s", maxStoredWords(repo.Name, limit))
		return nil
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	if err := dir.repos().Set(ctx, repo.Name, func(s *target.Settings) { s.MaxStored = limit }); err != nil {
		return err
	}
	a.say("%s", maxStoredWords(repo.Name, limit))
	dir.note(ctx, a, "repo set: %s", maxStoredWords(repo.Name, limit))
	return nil
}

// maxStoredWords say what a limit means.
func maxStoredWords(repo string, limit record.Limit) string {
	what := "what the namespace of each target of " + repo + " may hold in etcd: "
	switch limit {
	case record.DefaultLimit:
		return what + "a quarter of etcd's quota"
	case record.NoLimit:
		return what + "any amount"
	}
	return what + text.Size(int64(limit))
}
