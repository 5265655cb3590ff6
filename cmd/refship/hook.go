package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks/install"
	"refship/hooks/status"
	"refship/hooks/target"
	"refship/keys"
)

type hookCmd struct {
	Install   hookInstallCmd   `cmd:"" help:"Put the hooks into a repository, beside those that it has, and say what is deployed where."`
	Uninstall hookUninstallCmd `cmd:"" help:"Take them out again, so that the repository is as it was before."`
	Status    hookStatusCmd    `cmd:"" help:"Show the hooks, the etcd, and the refs beside their chains."`
	Run       hookRunCmd       `cmd:"" help:"What git calls, by way of the installed hooks."`
}

// placeFlags say which repositories.
type placeFlags struct {
	Dir string `arg:"" help:"The repository, or any place inside it; with --all, a directory of repositories."`
	All bool   `help:"Do it with every repository below DIR."`
}

type hookInstallCmd struct {
	placeFlags
	storeFlags
	Name           *string `placeholder:"NAME" help:"The repository's name in records. Default: that of its directory, with --all its path below DIR."`
	Target         string  `default:"default" placeholder:"NAME" help:"The target to add or change. Default: default."`
	SigningKey     *string `placeholder:"FILE" help:"Sign records with this private key in OpenSSH's format, which others must not be able to read; empty for unsigned records."`
	AllowedSigners *string `placeholder:"FILE" help:"Build only on deploys that one of these keys has signed: a file as for ssh-keygen -Y verify. Empty: any."`
	targetFlags

	program string             // that the hooks call
	taken   []record.Namespace // by the targets of this run; no two may lie within each other
}

func (*hookInstallCmd) Help() string {
	return "The repository's pre-receive and post-receive are written; hooks that are there go on running, " +
		"before refship's, and what they refuse is refused. " +
		"Settings go into the repository's git config (refship.*), a password only as the name of a file. " +
		"Git itself finds the repository: GIT_DIR and the like do not count. " +
		"Installing again changes what is given and nothing else; another --target adds one. " +
		"Without --endpoints, the etcd of the server on the data directory is used."
}

func (c *hookInstallCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	if c.program, err = thisProgram(a); err != nil {
		return err
	}
	return c.each(ctx, a, func(repo *install.Repository, name string) error {
		return c.install(ctx, a, repo, name)
	})
}

// check refuses flags that contradict each other.
func (c *hookInstallCmd) check() error {
	switch {
	case c.Password != "" || strings.Contains(c.User, ":"):
		return fault.New(fault.Usage, "a password does not belong in a repository's git config",
			"write it into a file that others cannot read: --user NAME --password-file FILE")
	case c.All && c.Name != nil:
		return usagef("--all and --name can't be used together: each repository has a name of its own")
	case c.All && c.Namespace != nil:
		return usagef("--all and --namespace can't be used together: each repository has a chain of its own")
	}
	return nil
}

// each calls do for one repository or for all. With all, one that fails does not stop the others.
func (f *placeFlags) each(ctx context.Context, a *app, do func(repo *install.Repository, name string) error) error {
	if !f.All {
		repo, err := install.Find(ctx, f.Dir)
		if err != nil {
			return err
		}
		return do(repo, repo.Name())
	}
	places, err := install.FindAll(ctx, f.Dir)
	if err != nil {
		return err
	}
	if len(places) == 0 {
		return fault.New(fault.Refused, "there is no repository below "+f.Dir,
			"name the directory that holds repositories, such as ~git/repositories")
	}
	worst, failed := exitDone, 0
	for _, place := range places {
		err := place.Err
		var repo *install.Repository
		if err == nil {
			repo, err = install.Find(ctx, place.Path)
		}
		if err == nil {
			err = do(repo, place.Name)
		}
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			continue
		}
		failed++
		worst = max(worst, exitCode(err))
		if silent := exitError(0); !errors.As(err, &silent) {
			a.fail(fmt.Errorf("%s: %w", place.Name, err), remedyOf(err))
		}
	}
	if failed == 0 {
		return nil
	}
	a.say("%d of %s failed", failed, text.Plural(len(places), "repository", "repositories"))
	return exitError(worst)
}

// gitoliteAdmin is the repository that gitolite keeps its configuration in. Where pushes to it fail, nothing can be
// repaired.
const gitoliteAdmin = "gitolite-admin.git"

// install installs in one repository.
func (c *hookInstallCmd) install(ctx context.Context, a *app, repo *install.Repository, name string) error {
	if c.All && filepath.Base(repo.GitDir) == gitoliteAdmin {
		a.say("%s: left out, it is gitolite's own; if it is meant: refship hook install %s",
			name, text.Quote(repo.GitDir))
		return nil
	}
	if err := c.checkServer(a, repo); err != nil {
		return err
	}
	have, err := target.Read(repo.GitDir)
	if err != nil {
		return err
	}
	settings, err := c.settings(a, have.Settings, name)
	if err != nil {
		return err
	}
	t, err := c.target(ctx, repo, settings.Repository, have.Targets)
	if err != nil {
		return err
	}
	for _, ns := range c.taken {
		if t.Namespace.Overlaps(ns) {
			return fault.New(fault.Refused,
				fmt.Sprintf("its namespace %s and %s of another repository overlap", t.Namespace, ns),
				"install it by itself, with --namespace NS")
		}
	}
	c.taken = append(c.taken, t.Namespace)
	change, err := install.Install(ctx, repo, install.Config{
		Program: c.program, Settings: settings, Target: t, Log: quietLog(a),
	})
	if err := sayChange(a, settings.Repository, change, err, "nothing to change"); err != nil {
		return err
	}
	a.say("%s: target %s: %s", settings.Repository, t.Name, describeTarget(t))
	if settings.SigningKey == "" {
		a.say("%s: records are not signed: no --signing-key is given", settings.Repository)
	}
	if takes, err := repo.TakesPushOptions(ctx); err == nil && !takes {
		a.say("%s: git takes no push options there, such as -o deploy.dry-run; to take them: "+
			"git -C %s config receive.advertisePushOptions true", settings.Repository, text.Quote(repo.GitDir))
	}
	warnOfNamespace(a, t)
	c.tryEtcd(ctx, a, repo, settings, t)
	return nil
}

// sayChange tells what an install or uninstall did, and which change to a script stopped it.
func sayChange(a *app, name string, change *install.Change, err error, unchanged string) error {
	for _, line := range change.Done {
		a.say("%s: %s", name, text.Printable(line))
	}
	if err != nil {
		var edited *install.EditedError
		if errors.As(err, &edited) {
			for line := range strings.Lines(edited.Diff) {
				fmt.Fprintf(a.stderr, "    %s\n", text.Printable(strings.TrimSuffix(line, "\n")))
			}
		}
		return err
	}
	if !change.Changed() {
		a.say("%s: %s", name, unchanged)
	}
	for _, line := range change.Warnings {
		a.say("%s: warning: %s", name, text.Printable(line))
	}
	return nil
}

// checkServer refuses a repository of refship's own server, which runs its own hooks and none of the repository's.
func (c *hookInstallCmd) checkServer(a *app, repo *install.Repository) error {
	dir, err := c.dir(a)
	if err != nil {
		return nil //nolint:nilerr // without a data directory there is no such server
	}
	repos, err := filepath.EvalSymlinks(dir.repos().Path)
	if err != nil || !strings.HasPrefix(repo.GitDir, repos+string(filepath.Separator)) {
		return nil //nolint:nilerr // nor without its repositories
	}
	return fault.New(fault.Refused,
		fmt.Sprintf("repository %s is in the data directory %s: refship serve deploys what is pushed to it",
			repo.GitDir, dir.path),
		"what of it is deployed is changed with: refship repo target")
}

// tryEtcd says where the target's ref is, and whether that is deployed. It warns of what pushes would meet: an etcd
// that cannot be reached, or a chain that another repository began.
func (c *hookInstallCmd) tryEtcd(
	ctx context.Context, a *app, repo *install.Repository, settings target.Settings, t target.Target,
) {
	d, err := openHook(ctx, repo.GitDir, settings, false, quietLog(a))
	if err != nil {
		a.warn(fmt.Errorf("pushes to %s are refused until that is put right: %w", settings.Repository, err))
		return
	}
	defer d.Close()
	all, err := d.Status(ctx, settings.Repository, repo.GitDir)
	if err != nil {
		a.warn(fmt.Errorf("look at the chains of %s: %w", settings.Repository, err))
		return
	}
	for _, st := range all {
		if st.Target != t || st.State == nil {
			continue
		}
		a.say("%s: %s", settings.Repository, refWords(repo.GitDir, st))
		if head := st.State.Head; head != nil && st.Relation != deploy.RelationEqual && st.Relation != deploy.RelationAhead {
			a.warn(fmt.Errorf("%s has %d deploys already, the last one %s by %s: a push has to contain that",
				t.Namespace, head.ID, head.ShortHash(), head.By()))
		}
	}
}

// refWords say where a target's ref is, and how what it has is deployed.
func refWords(gitDir string, st status.Status) string {
	words := fmt.Sprintf("%s is at %s", text.Printable(st.Target.Ref), record.CommitHash(st.Ref).Short())
	switch {
	case st.Ref.IsZero():
		return text.Printable(st.Target.Ref) + " does not exist yet: the first push to it is deployed"
	case st.Uncompared():
		return fmt.Sprintf("%s, which mgmt itself has deployed as %d; its files are not compared", words, st.State.Head.ID)
	case st.Relation == deploy.RelationEqual:
		return fmt.Sprintf("%s, deployed as %d", words, st.State.Head.ID)
	case st.Relation == deploy.RelationEmpty || st.Relation == deploy.RelationAhead:
		return words + ", which is not deployed yet; to deploy it: " + redeployCommand(gitDir, st.Target)
	}
	return words
}

// settings are what there is, and what the flags say.
func (c *hookInstallCmd) settings(a *app, s target.Settings, name string) (_ target.Settings, err error) {
	if c.Name != nil {
		s.Repository = *c.Name
	} else if s.Repository == "" {
		s.Repository = name
	}
	if err := repos.CheckName(s.Repository); err != nil {
		return s, asUsage("--name", err)
	}
	if c.SigningKey != nil {
		if s.SigningKey, err = absolute(*c.SigningKey); err != nil {
			return s, err
		}
	}
	if c.AllowedSigners != nil {
		if s.AllowedSigners, err = absolute(*c.AllowedSigners); err != nil {
			return s, err
		}
	}
	if err := c.etcdSettings(a, &s); err != nil {
		return s, err
	}
	if _, _, err := loadSigner(s.SigningKey); err != nil {
		return s, err
	}
	if s.AllowedSigners != "" {
		allowed, err := keys.ReadAllowedSigners(s.AllowedSigners)
		if err != nil {
			return s, err
		}
		warnOfSigners(a, allowed)
	}
	return s, nil
}

// etcdSettings changes how to reach etcd. Other endpoints are another etcd: the earlier settings go.
func (c *hookInstallCmd) etcdSettings(a *app, s *target.Settings) (err error) {
	if len(c.Endpoints) > 0 && !slices.Equal(c.Endpoints, s.Endpoints) {
		s.Endpoints, s.CACert, s.Cert, s.Key, s.User, s.PasswordFile = c.Endpoints, "", "", "", "", ""
	}
	if c.User != "" {
		s.User = c.User
	}
	for _, file := range []struct {
		to   *string
		flag string
	}{{&s.CACert, c.CACert}, {&s.Cert, c.Cert}, {&s.Key, c.Key}, {&s.PasswordFile, c.PasswordFile}} {
		if file.flag == "" {
			continue
		}
		if *file.to, err = absolute(file.flag); err != nil {
			return err
		}
	}
	if len(s.Endpoints) == 0 {
		if s.Endpoints, err = c.ownEtcd(a); err != nil {
			return err
		}
	}
	if s.User != "" && s.PasswordFile == "" {
		return fault.New(fault.Usage, "--user "+s.User+" has no password",
			"write it into a file that others cannot read, and give --password-file FILE")
	}
	_, err = etcdOf(*s, nil)
	return err
}

// ownEtcd is the etcd of the server that runs on the data directory.
func (c *hookInstallCmd) ownEtcd(a *app) ([]string, error) {
	dir, err := c.dir(a)
	if err != nil {
		return nil, err
	}
	if !dir.servesEtcd() {
		return nil, fault.New(fault.Usage,
			"--endpoints is missing, and no server with an embedded etcd is running on "+dir.path,
			"say where etcd is: --endpoints URL")
	}
	a.say("%s", ownEtcdWords(dir))
	return []string{etcd.Socket(dir.etcd())}, nil
}

// absolute is a file's name that is good in any directory; "" stays so.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	return abs, nil
}

// target is the one that is there with what the flags change, or a new one. That deploys the branch of HEAD, which is
// what people push to, unless another ref is given.
func (c *hookInstallCmd) target(
	ctx context.Context, repo *install.Repository, repository string, have []target.Target,
) (target.Target, error) {
	t, err := target.Find(repository, have, c.Target)
	if was := t.Ref; err == nil {
		if t, err = c.change(t); err != nil || t.Ref == was {
			return t, err
		}
	} else {
		flags := c.targetFlags
		if flags.Ref == nil {
			if flags.Ref, err = mainBranch(ctx, repo.GitDir); err != nil {
				return t, err
			}
		}
		if t, err = flags.make(repository, c.Target); err != nil {
			return t, err
		}
	}
	return t, target.CheckRefs(t, have)
}

// mainBranch is the branch that HEAD names; nil, which is main, where HEAD names a commit, or where there is no such
// branch and main is there.
func mainBranch(ctx context.Context, gitDir string) (*string, error) {
	const usual = "refs/heads/main"
	head, err := git.Head(ctx, gitDir)
	if err != nil || head == "" {
		return nil, err
	}
	now, err := git.ReadRefs(ctx, gitDir, []string{head, usual})
	if err != nil || now[head].IsZero() && !now[usual].IsZero() {
		return nil, err
	}
	return &head, nil
}

// thisProgram is the path of refship that a hook can call: the one in PATH if that is this very program, since it stays
// when a new version is installed.
func thisProgram(a *app) (string, error) {
	self, err := a.executable()
	if err != nil {
		return "", fmt.Errorf("find refship: %w", err)
	}
	found, err := exec.LookPath("refship")
	if err != nil || !filepath.IsAbs(found) {
		return self, nil
	}
	here, err := os.Stat(self)
	if err != nil {
		return "", fmt.Errorf("find refship: %w", err)
	}
	if there, err := os.Stat(found); err == nil && os.SameFile(here, there) {
		return found, nil
	}
	return self, nil
}

type hookUninstallCmd struct {
	placeFlags
}

func (*hookUninstallCmd) Help() string {
	return "Hooks that were there get their names back, and git's config is as it was, but for what others changed " +
		"in it. Chains stay in etcd. " +
		"Where several repositories share a directory of hooks, they stay for the others."
}

func (c *hookUninstallCmd) Run(ctx context.Context, a *app) error {
	return c.each(ctx, a, func(repo *install.Repository, name string) error {
		change, err := install.Uninstall(ctx, repo, quietLog(a))
		return sayChange(a, name, change, err, "nothing of refship is installed")
	})
}
