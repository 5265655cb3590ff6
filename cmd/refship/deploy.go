package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/hooks"
	"refship/hooks/install"
	"refship/hooks/target"
)

type deployCmd struct {
	storeFlags
	Namespace  string   `placeholder:"NS" help:"The chain's etcd prefix, such as /refship/config."`
	Repo       string   `placeholder:"DIR" help:"Deploy a commit of the repository that DIR is in."`
	Rev        string   `placeholder:"REV" help:"The commit, as git names it: HEAD, main, a tag, an oid. With --repo."`
	Dir        string   `placeholder:"DIR" help:"Deploy the files below DIR as they are. No repository is looked for, git is not needed."`
	Exclude    []string `sep:"none" placeholder:"GLOB" help:"With --dir, leave out what matches, in the syntax of gitignore: '*.log', 'build/'. May be given several times."`
	Target     string   `placeholder:"NAME" help:"With --repo, the target of the repository's git config whose namespace, path, frontend and check are used. May be left out where it has one, or with --namespace."`
	SigningKey string   `placeholder:"FILE" help:"Sign the record with this private key in OpenSSH's format. Of a repository with a target: default refship.signing-key of its git config."`
	Force      bool     `help:"Replace a head that the previous hash refuses; needs --reason, and the record keeps both."`
	Reason     string   `placeholder:"TEXT" help:"Why, for the record."`
	DryRun     bool     `help:"Check and read everything, write nothing, say what would be deployed."`
	JSON       bool     `help:"Print one JSON object about the deploy."`
	layoutFlags
}

// Help is the long help.
func (*deployCmd) Help() string {
	return "Either --repo and --rev: it says which repository, ref and commit it takes before it does anything, and takes what is committed, " +
		"nothing else of a work tree. Or --dir and --namespace: it reads the files below that directory, and its deploy hash is tree: and the oid " +
		"that git would give the tree.\n\n" +
		"Each needs to know the chain: --namespace, or with --repo a target of the repository's git config, which also says what of the tree is deployed and how, " +
		"and may name the etcd. The previous hash is the chain's head: it must be contained in the commit, or be another plain directory. " +
		"For scripts: exit code 0 means deployed, or deployed already; 3 that the chain is somewhere else or locked; 4 that it is refused; 6 that etcd is not to be reached."
}

// source is what is deployed, and with what settings.
type source struct {
	repository string // name for the record
	target     target.Target
	gitDir     string // "" for a plain directory
	rev        git.Revision
	dir        *deploy.Directory
	settings   target.Settings // of the repository's config; zero where they were not looked at
}

// Run deploys.
func (c *deployCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.check(ctx); err != nil {
		return err
	}
	bar := newProgressBar(a.stderr, a.now)
	defer bar.clear()
	say := func(line string) {
		bar.clear()
		a.say("%s", line)
	}
	src, err := c.source(ctx, say, bar.update)
	if err != nil {
		return err
	}
	warnOfNamespace(a, src.target)
	log := quietLog(a)
	client, err := c.dial(ctx, a, src, say, log)
	if err != nil {
		return err
	}
	key := c.SigningKey
	if key == "" {
		key = src.settings.SigningKey
	}
	d, err := newDeployer(deployerConfig{Client: client, SigningKey: key, GitDir: src.gitDir, Log: log})
	if err != nil {
		return err
	}
	defer d.Close()
	job := d.NewJob(record.KindDeploy, src.repository, src.target, src.rev.Commit, hooks.PusherFromEnv(a.getenv))
	job.Force, job.Reason, job.Dir = c.Force, c.Reason, src.dir
	if src.rev.Ref != "" || c.Force { // else the commit is in the target's ref
		job.Ref = src.rev.Ref
	}
	made, err := d.DeployManually(ctx, &hooks.Manual{
		GitDir: src.gitDir, Target: src.target, Job: job, DryRun: c.DryRun, Say: say, Progress: bar.update,
	})
	if err != nil || !c.JSON {
		return err
	}
	return writeJSON(a.stdout, describeMade(made, job, src.target.Namespace))
}

// check refuses flags that contradict each other.
func (c *deployCmd) check(ctx context.Context) error {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	together := func(a, b string) error { return usagef("%s and %s can't be used together", a, b) }
	switch {
	case c.Repo == "" && c.Dir == "":
		return c.explain(ctx)
	case c.Repo != "" && c.Dir != "":
		return together("--repo", "--dir")
	case c.Repo == "" && c.Rev != "":
		return together("--dir", "--rev")
	case c.Repo == "" && c.Target != "":
		return together("--dir", "--target")
	case c.Repo != "" && c.Rev == "":
		return &usageError{what: "--rev is missing: which commit of the repository is to be deployed?", remedy: "say it as git does: --rev HEAD, --rev main, --rev OID"}
	case c.Repo != "" && len(c.Exclude) > 0:
		return &usageError{what: "--exclude belongs to --dir", remedy: "of a commit, deploy a directory of it with --path, or take the files out of the commit"}
	case c.Dir != "" && c.Path != nil:
		return &usageError{what: "--path belongs to --repo", remedy: "name the directory itself: --dir DIR/" + *c.Path}
	case c.Dir != "" && c.Namespace == "":
		return &usageError{what: "--namespace is missing: which chain is the directory for?", remedy: "such as --namespace " + c.suggestNamespace(c.Dir)}
	case c.Target != "" && c.Namespace != "":
		return together("--target", "--namespace")
	case c.Target != "" && c.layoutFlags != (layoutFlags{}):
		return &usageError{what: "--target has its own settings, and others are given", remedy: "leave --target out and give --namespace, or change the target"}
	case c.Force && strings.TrimSpace(c.Reason) == "":
		return &usageError{what: "--force needs --reason", remedy: "say why: --force --reason TEXT; the record keeps it"}
	}
	return nil
}

// explain is the usage error of a deploy of nothing, which tells of a repository that it would not take by itself.
func (c *deployCmd) explain(ctx context.Context) error {
	remedy := "--repo DIR --rev REV deploys a commit of the repository that DIR is in\n" +
		"--dir DIR --namespace NS deploys plain files, without any repository"
	if home, err := install.Find(ctx, "."); err == nil {
		remedy += fmt.Sprintf("\nyou are in the repository %s, which is not taken by itself: refship deploy --repo . --rev HEAD", home.Place())
	}
	return &usageError{what: "what is to be deployed? neither --repo nor --dir is given", remedy: remedy}
}

// suggestNamespace names a chain for a directory.
func (c *deployCmd) suggestNamespace(dir string) string {
	if c.Frontend != nil && record.Frontend(*c.Frontend).IsMgmt() {
		return string(record.MgmtNamespace)
	}
	abs, err := filepath.Abs(dir)
	ns := "/refship/" + strings.TrimSuffix(filepath.Base(abs), ".git")
	if _, bad := record.ParseNamespace(ns); err != nil || bad != nil {
		return "/refship/NAME"
	}
	return ns
}

// source reads what is to be deployed, and says so.
func (c *deployCmd) source(ctx context.Context, say func(string), progress func(text.Progress)) (*source, error) {
	if c.Dir != "" {
		return c.directory(ctx, say, progress)
	}
	home, err := install.Find(ctx, c.Repo)
	if err != nil {
		return nil, err
	}
	src := &source{gitDir: home.GitDir, repository: home.Name()}
	if src.rev, err = git.FindRevision(ctx, c.Repo, c.Rev); err != nil {
		return nil, err
	}
	ref := src.rev.Ref
	if ref == "" {
		ref = "no ref, " + c.Rev
	}
	say(text.Printable(fmt.Sprintf("repository %s, %s: commit %s %q", home.Place(), ref, src.rev.Commit, src.rev.Subject)))
	if home.WorkTree != "" {
		if err := warnOfUncommitted(ctx, home.WorkTree, say); err != nil {
			return nil, err
		}
	}
	if c.Namespace != "" {
		src.target, err = c.adHoc(src.rev.Ref)
		return src, err
	}
	if src.settings, err = target.ReadSettings(home.GitDir); err != nil {
		return nil, err
	}
	if src.settings.Repository != "" {
		src.repository = src.settings.Repository
	}
	src.target, err = c.target(ctx, home.GitDir, say)
	return src, err
}

// adHoc is a target that the command line describes.
func (c *deployCmd) adHoc(ref string) (target.Target, error) {
	ns, err := parseNamespace(c.Namespace)
	if err != nil {
		return target.Target{}, err
	}
	t := target.Target{Ref: ref, Namespace: ns, Frontend: record.Files}
	if err := c.apply(&t); err != nil {
		return t, err
	}
	if err := record.CheckPath(t.Path); err != nil {
		return t, asUsage("--path", err)
	}
	if err := target.CheckTarget(t.Frontend, t.Settings, t.Namespace); err != nil {
		return t, asUsage("", err)
	}
	return t, nil
}

// target is the one that the command line names, or the only one.
func (c *deployCmd) target(ctx context.Context, gitDir string, say func(string)) (target.Target, error) {
	targets, err := target.ReadTargets(gitDir)
	if err != nil {
		return target.Target{}, err
	}
	var names []string
	for _, t := range targets {
		if t.Name == c.Target || c.Target == "" && len(targets) == 1 {
			say("target " + t.Name + " of its git config: " + describeTarget(t))
			if c.layoutFlags != (layoutFlags{}) {
				return t, &usageError{what: "the target " + t.Name + " has its own settings, and others are given", remedy: "give --namespace, too, or change the target"}
			}
			return t, nil
		}
		names = append(names, t.Name)
	}
	switch {
	case len(targets) == 0:
		return target.Target{}, &usageError{what: "--namespace is missing, and the repository's git config has no target", remedy: "such as --namespace " + c.suggestNamespace(c.Repo)}
	case c.Target != "":
		return target.Target{}, &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("the repository has no target %q", c.Target), Remedy: "its targets: " + strings.Join(names, ", ")}
	}
	return target.Target{}, &usageError{what: "--target is missing, and the repository's git config has several", remedy: "its targets: " + strings.Join(names, ", ")}
}

// maxNamed is how many files a warning names.
const maxNamed = 5

// warnOfUncommitted says what of a work tree is not deployed.
func warnOfUncommitted(ctx context.Context, tree string, say func(string)) error {
	names, err := git.Uncommitted(ctx, tree)
	if err != nil || len(names) == 0 {
		return err
	}
	list := text.Printable(strings.Join(names[:min(maxNamed, len(names))], ", "))
	if more := len(names) - maxNamed; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	say(fmt.Sprintf("warning: not committed, so not deployed as %s: %s", map[bool]string{true: "it is", false: "they are"}[len(names) == 1], list))
	return nil
}

// directory reads a plain directory.
func (c *deployCmd) directory(ctx context.Context, say func(string), progress func(text.Progress)) (*source, error) {
	target, err := c.adHoc("")
	if err != nil {
		return nil, err
	}
	dir, err := deploy.ReadDirectory(ctx, c.Dir, c.Exclude, func(files int, bytes int64) {
		progress(text.Progress{Step: "reading", Files: files, Bytes: bytes})
	})
	var pattern *tree.PatternError
	switch {
	case errors.As(err, &pattern):
		return nil, asUsage("--exclude", err)
	case err != nil:
		return nil, err
	case dir.Files == 0:
		return nil, &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("there is no file to deploy below %s", c.Dir), Remedy: "look whether what makes the files has run, and what --exclude leaves out"}
	}
	abs, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", c.Dir, err)
	}
	say(text.Printable(fmt.Sprintf("directory %s: tree:%s", abs, dir.Root())))
	for _, pattern := range dir.Unmatched {
		say(text.Printable("warning: --exclude " + pattern + " matches nothing"))
	}
	return &source{repository: filepath.Base(abs), target: target, dir: dir}, nil
}

// dial says where the etcd is looked for, in this order: --endpoints, the repository's git config, the server on the
// data directory.
func (c *deployCmd) dial(ctx context.Context, a *app, src *source, say func(string), log *slog.Logger) (*etcd.Client, error) {
	if len(c.Endpoints) > 0 || len(src.settings.Endpoints) == 0 {
		return c.connect(ctx, a, log)
	}
	cfg, err := etcdOf(src.settings, log)
	if err != nil {
		return nil, err
	}
	say("etcd at " + strings.Join(src.settings.Endpoints, ", ") + ", as its git config says")
	return dialPatiently(ctx, cfg)
}

// redeployCommand is what deploys what a target's ref has, where no server of refship's does.
func redeployCommand(gitDir string, t target.Target) string {
	return fmt.Sprintf("refship deploy --repo %s --rev %s --target %s", text.Quote(gitDir), text.Quote(shortRef(t.Ref)), t.Name)
}

// madeJSON is a deploy by hand for programs.
type madeJSON struct {
	Result       string           `json:"result"` // "deployed", "already deployed", "unchanged" or "dry-run"
	Namespace    record.Namespace `json:"namespace"`
	ID           record.ID        `json:"id"` // of the deploy, or of the head that is the same; 0: a dry run
	Hash         record.Hash      `json:"hash"`
	PreviousHash record.Hash      `json:"previous_hash"` // that it replaces or would replace; "": none
	Forced       bool             `json:"forced"`
	Files        int              `json:"files"` // in the tree; this and those below are 0 where there was nothing to do
	Added        int              `json:"added"`
	Modified     int              `json:"modified"`
	Deleted      int              `json:"deleted"`
	NewContents  int              `json:"new_contents"`
	NewBytes     int64            `json:"new_bytes"`
}

func describeMade(made *hooks.Made, job *deploy.Job, ns record.Namespace) madeJSON {
	v := made.Verdict
	j := madeJSON{Result: "dry-run", Namespace: ns, Hash: job.Hash(), Forced: v.Forced != nil}
	if v.Head != nil {
		j.PreviousHash = v.Head.Hash
	}
	switch {
	case v.Already:
		j.Result = "already deployed"
	case v.Same:
		j.Result = "unchanged"
	case made.Deploy != nil:
		j.Result = "deployed"
	}
	if v.Idle() {
		j.ID, j.PreviousHash = v.Head.ID, ""
		if r := v.Head.Record; r != nil {
			j.PreviousHash = r.PreviousHash
		}
		return j
	}
	if made.Deploy != nil {
		j.ID = made.Deploy.ID
	}
	if p := made.Prepared; p != nil {
		j.Files, j.Added, j.Modified, j.Deleted = p.Files, p.Added, p.Modified, p.Deleted
		j.NewContents, j.NewBytes = p.NewContents, p.NewBytes
	}
	return j
}
