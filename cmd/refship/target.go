package main

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/target"
)

type repoTargetCmd struct {
	Add    repoTargetAddCmd    `cmd:"" help:"Deploy one more ref, path or namespace of a repository."`
	Set    repoTargetSetCmd    `cmd:"" help:"Change settings of a target. Others stay as they are."`
	Remove repoTargetRemoveCmd `cmd:"" help:"Stop deploying a target. Its chain stays in etcd."`
	List   repoTargetListCmd   `cmd:"" help:"List a repository's targets."`
}

// targetReads is what the long help of each of these commands ends with.
const targetReads = "Only the repository's git config in the data directory is read and written. " +
	"A running server sees the change at the next push."

type repoTargetAddCmd struct {
	storeFlags
	targetFlags
	notifyFlag
	Repo string `arg:"" complete:"repo" help:"The repository's name."`
	Name string `arg:"" help:"The target's name: 1 to 32 of a-z, 0-9 and '-', such as staging."`
}

func (*repoTargetAddCmd) Help() string {
	return "A push that updates refs of several targets deploys all of them or none. " +
		"The repository's git config in the data directory is written, and a running server sees that at the next push. " +
		"A namespace that has a chain already is warned of: the etcd of the server on the data directory is asked, or that " +
		"of --endpoints."
}

func (c *repoTargetAddCmd) Run(ctx context.Context, a *app) error {
	if err := repos.CheckName(c.Repo); err != nil {
		return asUsage("", err)
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	t, err := c.make(c.Repo, c.Name)
	if err == nil {
		t, err = c.notifyFlag.apply(a, t)
	}
	if err != nil {
		return err
	}
	repo, dir, err := findRepo(a, c.dataFlag, c.Repo)
	if err != nil {
		return err
	}
	if was, err := target.Find(repo.Name, repo.Targets, t.Name); err == nil {
		return fault.New(fault.Failed,
			fmt.Sprintf("repository %s has a target %s already: %s", repo.Name, was.Name, describeTarget(was)),
			fmt.Sprintf("to change it: refship repo target set %s %s; to have both, choose another name", repo.Name, was.Name))
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	if err := dir.repos().AddTarget(ctx, repo.Name, t); err != nil {
		return err
	}
	dir.note(ctx, a, "repo target add: target %s of %s: %s", t.Name, repo.Name, describeTarget(t))
	sayTarget(ctx, a, repo, t)
	if err := beginNotify(a, repo, target.Target{}, t); err != nil {
		return err
	}
	c.warnOfChain(ctx, a, dir, t)
	a.say("to deploy it, push to %s; to deploy what was pushed before: ssh -p %s git@HOST deploy %s:%s",
		text.Printable(git.ShortRef(t.Ref)), dir.port(), repo.Name, t.Name)
	return nil
}

type repoTargetSetCmd struct {
	dataFlag
	targetFlags
	notifyFlag
	Repo string `arg:"" complete:"repo" help:"The repository's name."`
	Name string `arg:"" help:"The target's name."`
}

func (*repoTargetSetCmd) Help() string {
	return "What is deployed stays as it is until the next push. " + targetReads
}

func (c *repoTargetSetCmd) Run(ctx context.Context, a *app) error {
	if c.targetFlags == (targetFlags{}) && c.Notify == nil {
		return usagef("nothing to set: no flag of the target is given")
	}
	repo, dir, was, err := findTarget(a, c.dataFlag, c.Repo, c.Name)
	if err != nil {
		return err
	}
	target, err := c.change(was)
	if err == nil {
		target, err = c.notifyFlag.apply(a, target)
	}
	if err != nil {
		return err
	}
	if target == was {
		a.say("no change: target %s of %s is %s", was.Name, repo.Name, describeTarget(was))
		return nil
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	head, err := git.Head(ctx, repo.Dir)
	if err != nil {
		return err
	}
	if err := dir.repos().SetTarget(ctx, repo.Name, target); err != nil {
		return err
	}
	dir.note(ctx, a, "repo target set: target %s of %s: %s", target.Name, repo.Name, describeTarget(target))
	lines := consequences(repo.Name, dir.port(), was, target)
	switch at, err := git.Head(ctx, repo.Dir); {
	case err != nil:
		return err
	case at != head:
		lines = append(lines, "clones check out "+text.Printable(git.ShortRef(at))+" from now on (HEAD)")
	}
	sayTarget(ctx, a, repo, target, lines...)
	return beginNotify(a, repo, was, target)
}

// sayTarget says what is deployed from now on, and warns of what may be a mistake.
func sayTarget(ctx context.Context, a *app, repo *repos.Repository, t target.Target, more ...string) {
	a.say("target %s of %s: %s", t.Name, repo.Name, describeTarget(t))
	a.tell(more...)
	warnOfPath(ctx, a, repo, t)
	warnOfNamespace(a, t)
}

// consequences says what a change of a target means for the next push.
func consequences(repo, port string, was, is target.Target) []string {
	var lines []string
	add := func(format string, args ...any) {
		lines = append(lines, text.Printable(fmt.Sprintf(format, args...)))
	}
	ref := git.ShortRef(is.Ref)
	if was.Namespace != is.Namespace {
		add("the chain in %s stays, and gets no more deploys; the next push to %s continues the one in %s, or begins it",
			was.Namespace, ref, is.Namespace)
	}
	if was.Ref != is.Ref {
		add("from now on pushes to %s are stored and not deployed; a push to %s must contain the head of %s",
			git.ShortRef(was.Ref), ref, is.Namespace)
	}
	if was.Path != is.Path && was.Namespace == is.Namespace {
		add("the next push to %s deploys %s, and replaces the head of %s", ref, pathWords(is.Path), is.Namespace)
	}
	if was.Namespace == is.Namespace && (was.Frontend != is.Frontend || was.Settings != is.Settings) {
		add("the next push to %s deploys with these settings; to do it now: ssh -p %s git@HOST deploy %s:%s",
			ref, port, repo, is.Name)
	}
	return lines
}

func pathWords(path string) string {
	if path == "" {
		return "the whole tree"
	}
	return "the directory " + path
}

// warnOfPath warns of a path that the ref does not have now. It may be a typing error, or come with the next push.
func warnOfPath(ctx context.Context, a *app, repo *repos.Repository, t target.Target) {
	var none *git.NoPathError
	switch err := findPath(ctx, repo.Dir, t); {
	case errors.As(err, &none):
		a.sayLines("warning", fmt.Sprintf("%s is at %s, where %s: pushes to it are refused until one adds that directory",
			git.ShortRef(t.Ref), record.CommitHash(none.Commit).Short(), none.Found))
	case err != nil:
		a.warn(fmt.Errorf("look for %s: %w", t.Source(), err))
	}
}

// warnOfNamespace warns of deploys for mgmt in a namespace that mgmt does not read.
func warnOfNamespace(a *app, t target.Target) {
	if t.Frontend.IsMgmt() && t.Namespace != record.MgmtNamespace {
		a.sayLines("warning", fmt.Sprintf("mgmt reads %s, and not %s", record.MgmtNamespace, t.Namespace))
	}
}

// findPath looks for a target's path in the commit of its ref. It passes if there is no such ref.
func findPath(ctx context.Context, gitDir string, t target.Target) (err error) {
	oid, err := git.ReadRef(ctx, gitDir, t.Ref)
	if err != nil || oid.IsZero() || t.Path == "" {
		return err
	}
	repository, err := git.OpenRepository(ctx, gitDir, nil)
	if err != nil {
		return err
	}
	defer closeInto(&err, repository)
	_, oid, err = repository.Peel(ctx, oid)
	if err != nil {
		return err
	}
	commit, err := repository.Commit(oid)
	if err != nil {
		return err
	}
	_, _, err = repository.TreeAt(commit, t.Path)
	return err
}

// findRepo finds a repository that the command line names.
func findRepo(a *app, flag dataFlag, name string) (*repos.Repository, dataDir, error) {
	if err := repos.CheckName(name); err != nil {
		return nil, dataDir{}, asUsage("", err)
	}
	dir, err := flag.dir(a)
	if err != nil {
		return nil, dir, err
	}
	repo, err := dir.repos().Find(name)
	return repo, dir, err
}

// findTarget finds a target that the command line names.
func findTarget(a *app, flag dataFlag, repository, name string) (
	repo *repos.Repository, dir dataDir, t target.Target, err error,
) {
	if repo, dir, err = findRepo(a, flag, repository); err != nil {
		return repo, dir, t, err
	}
	if err := target.CheckName(name); err != nil {
		return repo, dir, t, asUsage("", err)
	}
	t, err = target.Find(repo.Name, repo.Targets, name)
	return repo, dir, t, err
}

type repoTargetRemoveCmd struct {
	dataFlag
	Repo string `arg:"" complete:"repo" help:"The repository's name."`
	Name string `arg:"" help:"The target's name."`
}

func (*repoTargetRemoveCmd) Help() string {
	return "The deploys stay in etcd, where log, show and checkout read them with --namespace. " +
		"Pushes to the ref are stored as before. " + targetReads
}

func (c *repoTargetRemoveCmd) Run(ctx context.Context, a *app) error {
	repo, dir, target, err := findTarget(a, c.dataFlag, c.Repo, c.Name)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	if err := dir.repos().RemoveTarget(ctx, repo.Name, target.Name); err != nil {
		return err
	}
	dir.note(ctx, a, "repo target remove: target %s of %s: %s", target.Name, repo.Name, describeTarget(target))
	a.say("target %s of %s removed: its chain stays in etcd at %s, and pushes to %s are still stored",
		target.Name, repo.Name, target.Namespace, text.Printable(git.ShortRef(target.Ref)))
	return nil
}

type repoTargetListCmd struct {
	dataFlag
	Repo string `arg:"" complete:"repo" help:"The repository's name."`
	JSON bool   `help:"Print one line of JSON per target."`
}

func (*repoTargetListCmd) Help() string { return targetReads }

func (c *repoTargetListCmd) Run(_ context.Context, a *app) error {
	repo, dir, err := findRepo(a, c.dataFlag, c.Repo)
	if err != nil {
		return err
	}
	if len(repo.Targets) == 0 {
		a.say("%s: pushes are stored and not deployed; to add one: refship repo target add %s NAME%s",
			target.NoneIn(repo.Name), repo.Name, dir.flag())
	}
	return writeList(a.stdout, c.JSON, repo.Targets, func(t target.Target) any { return t }, func(t target.Target) string {
		return t.Name + "\t" + describeTarget(t)
	})
}
