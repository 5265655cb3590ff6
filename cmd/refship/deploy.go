package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/hooks"
	"refship/hooks/install"
	"refship/hooks/permit"
	"refship/hooks/report"
	"refship/hooks/target"
	"refship/keys"
)

type deployCmd struct {
	storeFlags
	signersFlag
	Namespace    string        `variable:"" placeholder:"NS" help:"The chain's etcd prefix, such as /refship/config."`
	Repo         string        `placeholder:"DIR" help:"Deploy a commit of the repository that DIR is in."`
	Rev          string        `placeholder:"REV" help:"The commit, as git names it: HEAD, main, a tag, an oid. With --repo."`
	Dir          string        `placeholder:"DIR" help:"Deploy the files below DIR as they are. Git is not needed, and no repository is looked for."`
	File         string        `placeholder:"FILE" help:"Deploy one file of code, a graph or a manifest, as mgmt itself deploys it. With --frontend lang, yaml or puppet. Git is not needed, and no repository is looked for."`
	Exclude      []string      `sep:"none" placeholder:"GLOB" help:"With --dir, leave out what matches, in the syntax of gitignore: '*.log', 'build/'. May be given several times."`
	ObjectFormat *objectFormat `placeholder:"FORMAT" help:"With --dir or --file, which hash names objects: sha1 or sha256. That of the chain: another one begins a new line of history, by force. Default: sha1."`
	Target       string        `placeholder:"NAME" help:"With --repo, use the namespace, path, frontend and check of this target of the repository's git config. May be left out if there is only one, or with --namespace."`
	SigningKey   string        `placeholder:"FILE" help:"Sign the record with this private key in OpenSSH's format. Default: refship.signing-key of the repository's git config, or the key of the server whose data directory is used."`
	Force        bool          `help:"Replace the head even if it is not contained. Needs --reason; the record keeps both."`
	Reason       string        `placeholder:"TEXT" help:"Why, for the record."`
	Again        record.ID     `placeholder:"ID" help:"Bring back what was undone: this is the head, which was seen."`
	DryRun       bool          `help:"Check everything, write nothing, and say what would be deployed."`
	JSON         bool          `help:"Print one JSON object about the deploy."`
	layoutFlags

	wait time.Duration // of --wait, which goes with --target, too
}

func (*deployCmd) Help() string {
	return "Give --repo and --rev to deploy a commit. refship says which repository, ref and commit it takes before it " +
		"does anything. It takes what is committed, and nothing else of a work tree. " +
		"Or give --dir and --namespace to deploy the files below a directory. " +
		"The deploy hash is then tree: and the oid that git would give the tree. " +
		"Or give --file and --frontend to deploy one file for mgmt, with the tree that mgmt itself makes of it.\n\n" +
		"All need a chain: --namespace, or with --repo a target of the repository's git config; " +
		"with --file it is mgmt's own, /_mgmt, if no other is named. " +
		"A target also says what of the tree is deployed and how, and may name the etcd. " +
		"The commit must contain the chain's head; a directory may replace only another directory. " +
		"For scripts: exit code 0 means deployed, now or before; 3 that the head is not contained, or the chain is locked; " +
		"4 refused; 6 that etcd cannot be reached."
}

// source is what is deployed, and with what settings.
type source struct {
	repository string // name for the record
	target     target.Target
	gitDir     string // "" for a plain directory
	rev        git.Revision
	dir        *tree.Directory // plain, or made of one file
	settings   target.Settings // of the repository's config; zero if they were not read
}

func (c *deployCmd) Run(ctx context.Context, a *app) error {
	if err := c.check(ctx); err != nil {
		return err
	}
	bar := newProgressBar(a.stderr, a.now)
	defer bar.clear()
	tell := func(line string) {
		bar.clear()
		a.tell(line)
	}
	src, err := c.source(ctx, tell, bar.update)
	if err != nil {
		return err
	}
	warnOfNamespace(a, src.target)
	log := quietLog(a)
	client, err := c.dial(ctx, a, src, tell, log)
	if err != nil {
		return err
	}
	trust, err := c.trustFor(a, src.gitDir, src.settings, c.SigningKey, c.signersFlag)
	if err != nil {
		return errors.Join(err, client.Close())
	}
	d, err := newDeployer(client, src.gitDir, trust, log)
	if err != nil {
		return err
	}
	defer d.Close()
	d.hint = c.roomHint(a, d.store, src, "then deploy again")
	job := d.NewJob(record.KindDeploy, src.repository, src.target, src.rev.Object, permit.PusherFromEnv(a.getenv))
	job.Force, job.Reason, job.Dir = c.Force, c.Reason, src.dir
	if c.Again != 0 {
		job.Again = []record.ID{c.Again}
	}
	if src.rev.Ref != "" || c.Force { // else the commit is in the target's ref
		job.Ref = src.rev.Ref
	}
	_, ofServer := servedFrom(src.gitDir)
	made, err := d.DeployManually(ctx, &hooks.Manual{
		GitDir: src.gitDir, Target: src.target, Job: job, DryRun: c.DryRun, Keep: ofServer, Wait: c.wait,
		Tell: tell, Progress: bar.update,
	})
	if made != nil && !c.DryRun {
		d.note(ctx, a, src.gitDir)
	}
	if made != nil && c.JSON {
		err = errors.Join(err, writeJSON(a.stdout, describeMade(made, job, src.target.Namespace)))
	}
	return d.hint.explain(err)
}

// check refuses flags that contradict each other.
func (c *deployCmd) check(ctx context.Context) error {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	if err := c.checkSource(ctx); err != nil {
		return err
	}
	if c.Wait != nil {
		var err error
		if c.wait, err = target.ParseWait(*c.Wait); err != nil {
			return asUsage("--wait", err)
		}
		c.Wait = nil
	}
	switch {
	case c.wait != 0 && c.DryRun:
		return usagef("--wait and --dry-run can't be used together: nothing is deployed")
	case c.Target != "" && c.Namespace != "":
		return usagef("--target and --namespace can't be used together")
	case c.Target != "" && c.layoutFlags != (layoutFlags{}):
		return fault.New(fault.Usage, "--target has its own settings, and others are given",
			"give --namespace instead of --target, or change the target")
	case c.Force && strings.TrimSpace(c.Reason) == "":
		return fault.New(fault.Usage, "--force needs --reason", "say why: --force --reason TEXT; the record keeps it")
	}
	return nil
}

// checkSource refuses no source, two of them, and what does not go with the one that is given.
func (c *deployCmd) checkSource(ctx context.Context) error {
	var given []string
	for _, flag := range []struct{ name, value string }{{"--repo", c.Repo}, {"--dir", c.Dir}, {"--file", c.File}} {
		if flag.value != "" {
			given = append(given, flag.name)
		}
	}
	together := func(a, b string) error { return usagef("%s and %s can't be used together", a, b) }
	switch {
	case len(given) == 0:
		return missingSource(ctx)
	case len(given) > 1:
		return together(given[0], given[1])
	case c.Repo == "" && c.Rev != "":
		return together(given[0], "--rev")
	case c.Repo == "" && c.Target != "":
		return together(given[0], "--target")
	case c.Repo != "" && c.Rev == "":
		return fault.New(fault.Usage, "--rev is missing: it names the commit to deploy",
			"name it as git does: --rev HEAD, --rev main, --rev OID")
	case c.Repo != "" && c.ObjectFormat != nil:
		return fault.New(fault.Usage, "--object-format belongs to --dir and --file", "a repository has its own format")
	case c.Repo != "" && len(c.Exclude) > 0:
		return fault.New(fault.Usage, "--exclude belongs to --dir",
			"deploy one directory of the commit with --path, or take the files out of the commit")
	case c.File != "" && len(c.Exclude) > 0:
		return together("--file", "--exclude")
	case c.File != "" && c.Path != nil:
		return together("--file", "--path")
	case c.File != "":
		return c.checkFile()
	case c.Dir != "" && c.Path != nil:
		return fault.New(fault.Usage, "--path belongs to --repo", "name the directory itself: --dir DIR/"+*c.Path)
	case c.Dir != "" && c.Namespace == "":
		return fault.New(fault.Usage, "--namespace is missing: it names the chain to deploy to",
			"such as --namespace "+c.suggestNamespace(c.Dir))
	}
	return nil
}

// missingSource is the usage error of a deploy of nothing. It names the repository around, which is never taken without
// being asked for.
func missingSource(ctx context.Context) error {
	remedy := "--repo DIR --rev REV deploys a commit of the repository that DIR is in\n" +
		"--dir DIR --namespace NS deploys plain files, without any repository\n" +
		"--file FILE --frontend lang deploys one file for mgmt, without any repository; so with yaml and puppet"
	if repo, err := install.Find(ctx, "."); err == nil {
		remedy += "\nto deploy the repository that you are in, " + repo.Place() +
			": refship deploy --repo . --rev HEAD --namespace NS"
	}
	return fault.New(fault.Usage, "nothing to deploy: none of --repo, --dir and --file is given", remedy)
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
func (c *deployCmd) source(ctx context.Context, tell func(string), progress func(text.Progress)) (*source, error) {
	switch {
	case c.Dir != "":
		return c.directory(ctx, tell, progress)
	case c.File != "":
		return c.file(tell)
	}
	repo, err := install.Find(ctx, c.Repo)
	if err != nil {
		return nil, err
	}
	src := &source{gitDir: repo.GitDir, repository: repo.Name()}
	if src.rev, err = git.FindRevision(ctx, c.Repo, c.Rev); err != nil {
		return nil, err
	}
	ref := src.rev.Ref
	if ref == "" {
		ref = "no ref, " + c.Rev
	}
	tell(text.Printable(fmt.Sprintf("repository %s, %s: commit %s %q", repo.Place(), ref, src.rev.Commit,
		src.rev.Subject)))
	if repo.WorkTree != "" {
		if err := warnOfUncommitted(ctx, repo.WorkTree, tell); err != nil {
			return nil, err
		}
	}
	if c.Namespace != "" {
		src.target, err = c.adHoc(src.rev.Ref)
		return src, err
	}
	config, err := target.Read(repo.GitDir)
	if err != nil {
		return nil, err
	}
	src.settings = config.Settings
	if src.settings.Repository != "" {
		src.repository = src.settings.Repository
	}
	src.target, err = c.target(config.Targets, tell)
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
	if err := target.CheckFrontend(t.Frontend, t.Settings, t.Namespace); err != nil {
		return t, asUsage("", err)
	}
	return t, nil
}

// target is the one that the command line names, or the only one.
func (c *deployCmd) target(targets []target.Target, tell func(string)) (target.Target, error) {
	name := c.Target
	switch {
	case len(targets) == 0:
		return target.Target{}, fault.New(fault.Usage,
			"--namespace is missing, and the repository's git config has no target",
			"such as --namespace "+c.suggestNamespace(c.Repo))
	case name == "" && len(targets) > 1:
		return target.Target{}, fault.New(fault.Usage, "--target is missing, and the repository's git config has several",
			"its targets: "+target.Names(targets))
	case name == "":
		name = targets[0].Name
	}
	t, err := target.Find("the repository", targets, name)
	if err != nil {
		return t, err
	}
	tell("target " + t.Name + " of its git config: " + describeTarget(t))
	if c.layoutFlags != (layoutFlags{}) {
		return t, fault.New(fault.Usage, "the target "+t.Name+" has its own settings, and others are given",
			"give --namespace, too, or change the target")
	}
	return t, nil
}

// warnOfUncommitted names the files of a work tree whose changes are not deployed.
func warnOfUncommitted(ctx context.Context, tree string, tell func(string)) error {
	names, err := git.Uncommitted(ctx, tree)
	if err != nil || len(names) == 0 {
		return err
	}
	tell("warning: uncommitted changes are not deployed: " + text.Printable(text.FirstFew(names)))
	return nil
}

// directory reads a plain directory.
func (c *deployCmd) directory(ctx context.Context, tell func(string), progress func(text.Progress)) (*source, error) {
	target, err := c.adHoc("")
	if err != nil {
		return nil, err
	}
	dir, err := tree.ReadDirectory(ctx, c.ObjectFormat.orDefault(), c.Dir, c.Exclude, func(files int, bytes int64) {
		progress(text.Progress{Step: "reading", Files: files, Bytes: bytes})
	})
	switch {
	case fault.Is(err, fault.Usage):
		return nil, asUsage("--exclude", err)
	case err != nil:
		return nil, err
	case dir.Files == 0:
		return nil, fault.New(fault.Refused, "there is no file to deploy below "+c.Dir,
			"check that the files were built, and what --exclude leaves out")
	}
	abs, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", c.Dir, err)
	}
	tell(text.Printable(fmt.Sprintf("directory %s: tree:%s", abs, dir.Root())))
	for _, pattern := range dir.Unmatched {
		tell(text.Printable("warning: --exclude " + pattern + " matches nothing"))
	}
	return &source{repository: filepath.Base(abs), target: target, dir: dir}, nil
}

// dial says where the etcd is looked for, in this order: --endpoints, the repository's git config, the server on the
// data directory.
func (c *deployCmd) dial(
	ctx context.Context, a *app, src *source, tell func(string), log *slog.Logger,
) (*etcd.Client, error) {
	client, err := c.connectFor(ctx, a, src.settings, tell, log)
	if dir, dirErr := c.dir(a); err == nil && dirErr == nil && len(c.Endpoints)+len(src.settings.Endpoints) == 0 {
		tell(ownEtcdWords(dir))
	}
	return client, err
}

// connectFor is connect, but that the etcd may also be that of a repository's git config. tell is told so.
func (f *storeFlags) connectFor(
	ctx context.Context, a *app, settings target.Settings, tell func(string), log *slog.Logger,
) (*etcd.Client, error) {
	if len(f.Endpoints) > 0 || len(settings.Endpoints) == 0 {
		return f.connect(ctx, a, log)
	}
	cfg, err := etcdOf(settings, log)
	if err != nil {
		return nil, err
	}
	tell("etcd at " + text.Endpoints(settings.Endpoints...) + ", from its git config")
	return dialPatiently(ctx, cfg)
}

// trust is what a process that deploys signs with, and whose signatures count.
type trust struct {
	key     string               // file of the signing key; "": records are not signed
	allowed *keys.AllowedSigners // nil: that is not known
	openPGP string               // OpenPGP keys that may sign commits and tags: see signed.Trust
}

// trustFor is findTrust, but that what flags do not say the repository's git config may, and that what comes out of a
// repository of a data directory is signed as that one's server would. gitDir is "" for no repository.
func (f *storeFlags) trustFor(
	a *app, gitDir string, settings target.Settings, key string, signers signersFlag,
) (is trust, err error) {
	signers.AllowedSigners = cmp.Or(signers.AllowedSigners, settings.AllowedSigners)
	key, another := cmp.Or(key, settings.SigningKey), len(settings.Endpoints) > 0
	if dir, found := servedFrom(gitDir); found && key == "" {
		is = trust{key: dir.signingKey().path, openPGP: openPGPKeys(cmp.Or(signers.AllowedSigners, dir.allowedSigners()))}
		is.allowed, err = signers.signers(a, dir)
		return is, err
	}
	return f.findTrust(a, key, signers, another)
}

// findTrust finds the signing key and whose signatures count. Without --endpoints, and unless the etcd is another, both
// are the server's own where nothing else is said.
func (f *storeFlags) findTrust(a *app, key string, signers signersFlag, another bool) (is trust, err error) {
	is.key, is.openPGP = key, openPGPKeys(signers.AllowedSigners)
	if len(f.Endpoints) > 0 || another {
		if signers.AllowedSigners != "" {
			is.allowed, err = signers.signers(a, dataDir{})
		}
		return is, err
	}
	dir, err := f.dir(a)
	if err != nil {
		return is, err
	}
	if own := dir.signingKey().path; key == "" {
		if _, err := os.Stat(own); err == nil {
			is.key = own
		}
	}
	is.allowed, err = signers.signers(a, dir)
	return is, err
}

// servedFrom finds the data directory that a repository is in, if there is its server's signing key: whatever etcd that
// server uses, it signs what is deployed from there.
func servedFrom(gitDir string) (dir dataDir, found bool) {
	for at := gitDir; at != "" && at != filepath.Dir(at); at = filepath.Dir(at) {
		if d := (dataDir{path: filepath.Dir(at)}); at == d.repos().Path {
			if _, err := os.Stat(d.signingKey().path); err == nil {
				return d, true
			}
		}
	}
	return dataDir{}, false
}

// redeployCommand deploys what a target's ref has, in a repository that refship's server does not serve.
func redeployCommand(gitDir string, t target.Target) string {
	return fmt.Sprintf("refship deploy --repo %s --rev %s --target %s",
		text.Quote(gitDir), git.RefArg(t.Ref), text.Quote(t.Name))
}

// madeJSON is the result of a manual deploy, for programs.
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
	j := madeJSON{Result: report.DryRun, Namespace: ns, Hash: job.Hash(), Forced: v.Forced != nil}
	switch {
	case v.Already:
		j.Result = report.Already
	case v.Same:
		j.Result = report.Unchanged
	case made.Deploy != nil:
		j.Result = report.Deployed
	}
	if made.Deploy != nil {
		j.ID = made.Deploy.ID
	}
	switch {
	case v.Idle() && v.Head.Record != nil:
		j.PreviousHash = v.Head.Record.PreviousHash
	case !v.Idle() && v.Head != nil:
		j.PreviousHash = v.Head.Hash
	}
	if p := made.Prepared; p != nil {
		j.Files, j.Added, j.Modified, j.Deleted = p.Files, p.Added, p.Modified, p.Deleted
		j.NewContents, j.NewBytes = p.NewContents, p.NewBytes
	}
	return j
}
