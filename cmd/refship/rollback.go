package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"refship/cmd/refship/overssh"
	"refship/deploy"
	"refship/deploy/bundle"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/install"
	"refship/hooks/permit"
	"refship/hooks/target"
)

// atFlags name the chain that a command changes.
type atFlags struct {
	chainFlags
	Repo   string `placeholder:"DIR" help:"In place of a CHAIN, take chain, etcd and keys from the git config of the repository that DIR is in, as its hooks do."`
	Target string `placeholder:"NAME" help:"With --repo, this target. May be left out if there is only one."`
}

// changeFlags are on every command that deploys an earlier deploy again, or none.
type changeFlags struct {
	atFlags
	SigningKey string `placeholder:"FILE" help:"Sign the record with this private key in OpenSSH's format. Default: refship.signing-key of the repository's git config, or the key of the server whose data directory is used."`
}

type rollbackCmd struct {
	changeFlags
	Deploy string `arg:"" complete:"deploy" name:"[chain@]id" help:"The deploy to go back to: its number, head~1, or head~N. CHAIN is REPO or REPO:TARGET of the data directory."`
	Reason string `placeholder:"TEXT" help:"Why, for the record. Needed."`
	Hold   bool   `help:"Hold the chain with it, unless it is held: nothing but rollbacks is deployed until it is resumed."`
}

func (*rollbackCmd) Help() string {
	return "Publishes what an earlier deploy had as a new deploy. Nothing is uploaded and no check is run. " +
		"What was undone stays undone: a push that contains it is refused, until its pusher says that this was seen " +
		"(git push -o deploy.again=ID).\n\n" +
		"The number is resolved once. If the head is another one by the time of the publish, nothing is deployed, and the " +
		"exit code is 3."
}

func (c *rollbackCmd) Run(ctx context.Context, a *app) error {
	if strings.TrimSpace(c.Reason) == "" {
		return fault.New(fault.Usage, "--reason is missing", "say why: --reason TEXT; the record keeps it")
	}
	chain, id := cutChain(c.Deploy)
	return c.change(ctx, a, chain, func(d *openDeployer, at hooks.Place) error {
		_, err := d.Rollback(ctx, &hooks.Rollback{
			Place: at, Deploy: id, Who: permit.PusherFromEnv(a.getenv), Reason: c.Reason, Hold: c.Hold,
			Tell: func(line string) { a.tell(line) },
		})
		return err
	})
}

// cutChain cuts [CHAIN@]ID. In ssh://USER@HOST/REPO@ID, and in a bundle's path, the "@" after the last "/" counts.
func cutChain(s string) (chain, id string) {
	i := strings.LastIndex(s, "@")
	if (overssh.Is(s) || bundle.IsOf(s) || bundle.IsOf(s[:max(i, 0)])) && i < strings.LastIndex(s, "/") {
		return s, record.Head.String()
	}
	return s[:max(i, 0)], s[i+1:]
}

type holdCmd struct {
	changeFlags
	Chain  string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
	Reason string `placeholder:"TEXT" help:"Why: each pusher is told. Needed."`
}

func (*holdCmd) Help() string {
	return "Keeps the chain from going on: pushes that would be deployed are refused and told who holds it, since when " +
		"and why. Rollbacks go through. mgmt's own deploy command knows nothing of it."
}

func (c *holdCmd) Run(ctx context.Context, a *app) error {
	if strings.TrimSpace(c.Reason) == "" {
		return fault.New(fault.Usage, "--reason is missing", "say why: --reason TEXT; each pusher is told")
	}
	return c.change(ctx, a, c.Chain, func(d *openDeployer, at hooks.Place) error {
		said, err := d.Hold(ctx, at, permit.PusherFromEnv(a.getenv), c.Reason)
		if err == nil {
			a.say("%s", said)
		}
		return err
	})
}

type resumeCmd struct {
	changeFlags
	Chain  string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. May be left out with --namespace, or if there is only one."`
	Reason string `placeholder:"TEXT" help:"Why, for the log."`
	Force  bool   `help:"Resume also what another user holds."`
}

func (c *resumeCmd) Run(ctx context.Context, a *app) error {
	return c.change(ctx, a, c.Chain, func(d *openDeployer, at hooks.Place) error {
		said, err := d.Resume(ctx, at, permit.PusherFromEnv(a.getenv), c.Reason, c.Force)
		if err == nil {
			a.say("%s", said)
		}
		return err
	})
}

// change finds a chain and opens what changes it.
func (f *changeFlags) change(ctx context.Context, a *app, chain string,
	do func(*openDeployer, hooks.Place) error) error {
	if err := f.etcdFlags.check(); err != nil {
		return err
	}
	at, settings, err := f.place(ctx, a, chain)
	if err != nil {
		return err
	}
	trust, err := f.trustFor(a, at.GitDir, settings, f.SigningKey, f.signersFlag)
	if err != nil {
		return err
	}
	log := quietLog(a)
	client, err := f.connectFor(ctx, a, settings, func(line string) { a.tell(line) }, log)
	if err != nil {
		return err
	}
	d, err := newDeployer(client, at.GitDir, trust, log)
	if err != nil {
		return err
	}
	defer d.Close()
	if at.Target.Name == "" {
		if err := f.checkUsed(ctx, a, d.store.Chain(at.Target.Namespace)); err != nil {
			return err
		}
	}
	src := &source{gitDir: at.GitDir, target: at.Target, settings: settings}
	err = do(d, at)
	if err == nil {
		d.note(ctx, a, at.GitDir)
	}
	return f.roomHint(a, d.store, src, "then try again").explain(err)
}

// checkUsed is checkKnown for a chain that is to be changed: one that has no deploy, and is not held.
func (f *chainFlags) checkUsed(ctx context.Context, a *app, chain *deploy.Chain) error {
	state, err := chain.State(ctx)
	if err != nil || state.Head != nil || state.Hold != nil {
		return err
	}
	return f.checkKnown(a, chain.Namespace())
}

// place finds the chain that REPO or REPO:TARGET names, or --repo, or else --namespace, or else the only one. settings
// are those of --repo.
func (f *atFlags) place(ctx context.Context, a *app, chain string) (at hooks.Place, settings target.Settings,
	err error) {
	fromEnv, _ := a.getenv("REFSHIP_NAMESPACE")
	switch {
	case chain != "" && f.Repo != "":
		return at, settings, usagef("a chain and --repo can't be given together")
	case f.Repo != "" && f.Namespace != "" && f.Namespace != fromEnv:
		return at, settings, usagef("--repo and --namespace can't be given together")
	case f.Target != "" && f.Repo == "":
		return at, settings, usagef("--target belongs to --repo, which is missing")
	case f.Repo != "":
		return f.placeOfRepo(ctx)
	}
	name, err := f.chainName(a, chain)
	if err != nil {
		return at, settings, err
	}
	if name != "" {
		at, err = f.findChain(a, name)
		return at, settings, err
	}
	ns, err := f.namespace(a, "")
	if err != nil {
		return at, settings, err
	}
	dir, err := f.dir(a)
	if err != nil {
		return at, settings, err
	}
	only := hooks.Place{Target: target.Target{Namespace: ns}}
	listed, err := dir.repos().List()
	if err != nil {
		return only, settings, nil //nolint:nilerr // the data directory need not be there
	}
	return cmp.Or(findPlace(listed, ns), only), settings, nil
}

// errNoTarget is for --repo where nothing says which chain.
var errNoTarget = fault.New(fault.Usage, "the repository's git config has no target", "name the chain: --namespace NS")

// placeOfRepo is the place that --repo and --target name.
func (f *atFlags) placeOfRepo(ctx context.Context) (at hooks.Place, settings target.Settings, err error) {
	repo, err := install.Find(ctx, f.Repo)
	if err != nil {
		return at, settings, err
	}
	config, err := target.Read(repo.GitDir)
	if err != nil {
		return at, settings, err
	}
	switch n := len(config.Targets); {
	case n == 0:
		return at, settings, errNoTarget
	case n > 1 && f.Target == "":
		return at, settings, fault.New(fault.Usage, "--target is missing, and the repository's git config has several",
			"its targets: "+target.Names(config.Targets))
	}
	at, err = hooks.FindPlace(cmp.Or(config.Settings.Repository, repo.Name()), repo.GitDir, f.Target)
	return at, config.Settings, err
}

// findPlace finds the target that deploys into a namespace; zero if there is none.
func findPlace(listed []*repos.Repository, ns record.Namespace) hooks.Place {
	for _, repo := range listed {
		if i := slices.IndexFunc(repo.Targets, func(t target.Target) bool { return t.Namespace == ns }); i >= 0 {
			return hooks.Place{Repository: repo.Name, GitDir: repo.Dir, Target: repo.Targets[i]}
		}
	}
	return hooks.Place{}
}
