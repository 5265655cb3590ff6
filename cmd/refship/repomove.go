package main

import (
	"context"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/intent"
	"refship/keys"
)

type repoRenameCmd struct {
	dataFlag
	Old string `arg:"" complete:"repo" help:"The repository's name."`
	New string `arg:"" help:"Its new name."`
}

func (*repoRenameCmd) Help() string {
	return "Its targets keep their namespaces, so that their chains go on. " +
		"It waits up to 5 seconds for pushes and deploys that run in the repository. Rules of keys are not changed: those " +
		"that point nowhere afterwards are named."
}

// Run renames the repository, and says what else has its name.
func (c *repoRenameCmd) Run(ctx context.Context, a *app) error {
	if err := repos.CheckName(c.New); err != nil {
		return asUsage("", err)
	}
	repo, dir, err := findRepo(a, c.dataFlag, c.Old)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	if err := dir.repos().Rename(ctx, repo.Name, c.New, refuseLeft(repo.Name)); err != nil {
		return err
	}
	dir.note(ctx, a, "repo rename: repository %s is %s now", repo.Name, c.New)
	a.say("repository %s is %s now; %s", repo.Name, c.New, describeTargets(repo.Targets))
	a.say("who pushes to it sets the new name: git remote set-url deploy ssh://git@HOST:%s/%s", dir.port(), c.New)
	return sayRules(a, dir, repo.Name, c.New)
}

// refuseLeft refuses a repository with a push that is not deployed yet: what it promises would be lost, or be recorded
// under a wrong name.
func refuseLeft(name string) func(gitDir string) error {
	return func(gitDir string) error {
		left, err := intent.List(gitDir)
		if err != nil || len(left) == 0 {
			return err
		}
		return fault.New(fault.Conflict, text.Count(len(left), "push")+" to "+name+" is not deployed yet",
			"deploy it first: ssh HOST deploy "+name)
	}
}

// sayRules warns of rules for a repository that is gone. now is its new name, "" if it was removed.
func sayRules(a *app, dir dataDir, was, now string) error {
	all, _, err := dir.keys().List()
	if err != nil {
		return err
	}
	for _, key := range all {
		var about, want []keys.Rule
		for _, rule := range key.Rules {
			if rule.Repository == was {
				about = append(about, rule)
				rule.Repository = now
			}
			if rule.Repository != "" || rule.Action == keys.Admin {
				want = append(want, rule)
			}
		}
		if len(about) == 0 {
			continue
		}
		a.sayLines("warning", "key "+key.Fingerprint()+" of "+key.Name+" has rules for "+was+", which is no repository now: "+
			keys.FormatRules(about))
		command := "refship key remove " + key.Name + " --key " + key.Fingerprint()
		if len(want) > 0 {
			command = "refship key set " + key.Name + " --key " + key.Fingerprint() + " --allow " +
				text.Quote(keys.FormatRules(want))
		}
		a.sayLines("hint", command+dir.flag())
	}
	return nil
}

// namespacesOf names the namespaces of a repository: "/refship/a, /refship/b".
func namespacesOf(repo *repos.Repository) string {
	var all []string
	for _, t := range repo.Targets {
		all = append(all, string(t.Namespace))
	}
	return strings.Join(all, ", ")
}
