package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/permit"
	"refship/hooks/target"
)

// changeFlags are on every command that changes a chain without deploying anything new.
type changeFlags struct {
	chainFlags
	SigningKey string `placeholder:"FILE" help:"Sign the record with this private key in OpenSSH's format. Default: the key of the server whose data directory is used."`
}

type rollbackCmd struct {
	changeFlags
	Deploy string `arg:"" name:"[chain@]id" help:"The deploy to go back to: its number, head~1, or head~N. CHAIN is REPO or REPO:TARGET of the data directory."`
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

// cutChain cuts [CHAIN@]ID.
func cutChain(s string) (chain, id string) {
	i := strings.LastIndex(s, "@")
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
	at, err := f.place(a, chain)
	if err != nil {
		return err
	}
	key, allowed, err := f.trust(a, f.SigningKey, f.signersFlag, false)
	if err != nil {
		return err
	}
	log := quietLog(a)
	client, err := f.connect(ctx, a, log)
	if err != nil {
		return err
	}
	d, err := newDeployer(client, at.GitDir, key, allowed, log)
	if err != nil {
		return err
	}
	defer d.Close()
	if at.Target.Name == "" {
		if err := f.checkUsed(ctx, a, d.store.Chain(at.Target.Namespace)); err != nil {
			return err
		}
	}
	return do(d, at)
}

// checkUsed is checkKnown for a chain that is to be changed: one that has no deploy, and is not held.
func (f *chainFlags) checkUsed(ctx context.Context, a *app, chain *deploy.Chain) error {
	state, err := chain.State(ctx)
	if err != nil || state.Head != nil || state.Hold != nil {
		return err
	}
	return f.checkKnown(a, chain.Namespace())
}

// place finds the chain that REPO or REPO:TARGET names, or else --namespace, or else the only one.
func (f *chainFlags) place(a *app, chain string) (hooks.Place, error) {
	if env, _ := a.getenv("REFSHIP_NAMESPACE"); chain != "" && f.Namespace != "" && f.Namespace != env {
		return hooks.Place{}, usagef("a chain and --namespace can't be given together")
	}
	dir, err := f.dir(a)
	if err != nil {
		return hooks.Place{}, err
	}
	if chain != "" {
		repository, name, _ := strings.Cut(chain, ":")
		repo, err := dir.repos().Find(repository)
		if err != nil {
			return hooks.Place{}, err
		}
		return hooks.FindPlace(repo.Name, repo.Dir, name)
	}
	ns, err := f.namespace(a)
	if err != nil {
		return hooks.Place{}, err
	}
	only := hooks.Place{Target: target.Target{Namespace: ns}}
	listed, err := dir.repos().List()
	if err != nil {
		return only, nil //nolint:nilerr // the data directory need not be there
	}
	return cmp.Or(findPlace(listed, ns), only), nil
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
