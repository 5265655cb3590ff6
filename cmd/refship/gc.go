package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"refship/deploy"
	"refship/deploy/etcd"
	"refship/deploy/gc"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks"
	"refship/hooks/install"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// keepFlags say which deploys gc keeps.
type keepFlags struct {
	KeepLast   int  `default:"100" placeholder:"N" help:"Keep the newest N deploys. Default: 100."`
	KeepWithin span `default:"90d" placeholder:"TIME" help:"Keep all deploys of the last TIME, such as 90d or 12h. Default: 90d."`
}

func (f *keepFlags) check() error {
	if f.KeepLast < 1 {
		return usagef("--keep-last is %d: at least the newest deploy is kept, 1", f.KeepLast)
	}
	return nil
}

// span is a time span, also in days: 90d.
type span time.Duration

const day = 24 * time.Hour

func (d *span) UnmarshalText(text []byte) error {
	if digits, ok := strings.CutSuffix(string(text), "d"); ok {
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			*d = span(n) * span(day)
			return nil
		}
	}
	value, err := time.ParseDuration(string(text))
	if err != nil || value < 0 {
		return usagef("%q is not a time such as 90d or 12h, or 0", text)
	}
	*d = span(value)
	return nil
}

type gcCmd struct {
	atFlags
	keepFlags
	DryRun  bool   `short:"n" help:"Delete nothing. List what would go, deploy by deploy."`
	Compact bool   `help:"Compact and defragment an etcd of your own, too, and disarm its alarm NOSPACE: all who use it notice that. The etcd of a refship server gets it anyway."`
	JSON    bool   `help:"Print one JSON object for each chain: namespace, dry_run, kept, pinned, gone (a list of deploy, keys, bytes; deploy 0 is what refused and broken pushes left), keys, bytes."`
	Chain   string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. Default: all of its chains, or all of --repo, or --namespace."`
}

func (*gcCmd) Help() string {
	return "Deletes files of old deploys from etcd, as far as no deploy needs them that is kept: the newest, " +
		"those of the last 90 days, the head, and what refship keep pins. The records of all deploys stay, so that " +
		"log, show and a later check of the history still have them. A deploy that has lost files is expired: " +
		"it cannot be checked out or rolled back to. A server does the same by itself: serve --gc-every."
}

func (c *gcCmd) Run(ctx context.Context, a *app) error {
	if err := errors.Join(c.check(), c.etcdFlags.check()); err != nil {
		return err
	}
	all, settings, err := c.chains(ctx, a, c.Chain)
	if err != nil {
		return err
	}
	s, end, err := c.openStore(ctx, a, settings)
	if err != nil {
		return err
	}
	defer end()
	collect := func() (err error) {
		for _, ns := range all { // one that cannot be collected does not keep the others from it
			err = errors.Join(err, c.collect(ctx, a, s, ns))
			if ctx.Err() != nil || errors.Is(err, etcd.ErrUnreachable) || errors.Is(err, etcd.ErrFull) {
				return err
			}
		}
		return err
	}
	if c.DryRun {
		return collect()
	}
	return newRoomMaker(a, s, c.Compact).around(ctx, collect)
}

// chains are the one that is named, or all of --repo, or all of the data directory. settings are those of --repo.
func (f *atFlags) chains(
	ctx context.Context, a *app, chain string,
) (all []record.Namespace, settings target.Settings, err error) {
	if chain == "" && f.Namespace == "" && f.Repo != "" && f.Target == "" {
		return f.chainsOfRepo(ctx)
	}
	if chain != "" || f.Namespace != "" || f.Repo != "" || f.Target != "" {
		at, settings, err := f.place(ctx, a, chain)
		return []record.Namespace{at.Target.Namespace}, settings, err
	}
	dir, err := f.dir(a)
	if err != nil {
		return nil, settings, err
	}
	if all, err = dir.chains(); err == nil && len(all) == 0 {
		err = usagef("no repository in %s deploys anything: give --namespace", dir.path)
	}
	return all, settings, err
}

// chainsOfRepo are those of all targets of --repo.
func (f *atFlags) chainsOfRepo(ctx context.Context) (all []record.Namespace, settings target.Settings, err error) {
	repo, err := install.Find(ctx, f.Repo)
	if err != nil {
		return nil, settings, err
	}
	config, err := target.Read(repo.GitDir)
	if err == nil && len(config.Targets) == 0 {
		err = errNoTarget
	}
	return target.Namespaces(config.Targets), config.Settings, err
}

// openStore opens the etcd that a place's chain is in; end closes it.
func (f *atFlags) openStore(
	ctx context.Context, a *app, settings target.Settings,
) (s *deploy.Store, end func(), err error) {
	client, err := f.connectFor(ctx, a, settings, func(line string) { a.tell(line) }, quietLog(a))
	if err != nil {
		return nil, nil, err
	}
	s = newStore(client, nil, quietLog(a))
	return s, func() {
		_ = releaseLocks(s)
		_ = client.Close()
	}, nil
}

// collect collects one chain.
func (c *gcCmd) collect(ctx context.Context, a *app, s *deploy.Store, ns record.Namespace) error {
	if c.Repo == "" { // else its config knows the chain
		if err := c.checkUsed(ctx, a, s.Chain(ns)); err != nil {
			return err
		}
	}
	who, err := holderOf(a, "", "")
	if err != nil {
		return err
	}
	who.User = "gc of " + who.User
	bar := newProgressBar(a.stderr, a.now)
	cfg := gc.Config{
		Store: s, Who: who,
		KeepLast: c.KeepLast, KeepWithin: time.Duration(c.KeepWithin), DryRun: c.DryRun, Progress: bar.update,
	}
	var gone []gc.Gone
	cfg.Gone = func(g gc.Gone) { gone = append(gone, g) }
	r, err := gc.Run(ctx, cfg, ns)
	bar.clear()
	switch {
	case err != nil && r.Keys == 0:
		return err
	case c.JSON:
		return errors.Join(err, writeJSON(a.stdout, &gcJSON{
			Namespace: ns, DryRun: c.DryRun, Kept: r.Kept, Pinned: notNil(r.Pinned), Gone: notNil(gone), Keys: r.Keys,
			Bytes: r.Bytes,
		}))
	case c.DryRun:
		for _, g := range gone {
			fmt.Fprintln(a.stdout, goneWords(g))
		}
	}
	fmt.Fprintf(a.stdout, "%s: %s\n", ns, gcWords(r, c.DryRun))
	return err
}

// holderOf is who holds a chain's lock for this command. Others on this machine take the lock of one that has died.
func holderOf(a *app, repository, ref string) (record.Holder, error) {
	host, err := os.Hostname()
	if err != nil {
		return record.Holder{}, fmt.Errorf("find host name: %w", err)
	}
	return record.Holder{
		User: changer(a), Repository: repository, Ref: ref, Host: host, Process: intent.ThisProcess(),
	}, nil
}

// gcJSON is what gc does with one chain, for programs.
type gcJSON struct {
	Namespace record.Namespace `json:"namespace"`
	DryRun    bool             `json:"dry_run"`
	Kept      int              `json:"kept"`
	Pinned    []record.ID      `json:"pinned"` // of those that are kept, the newest first
	Gone      []gc.Gone        `json:"gone"`   // what was found to go, by deploy
	Keys      int              `json:"keys"`   // that are gone, or with DryRun would be
	Bytes     int64            `json:"bytes"`
}

// notNil is an empty list in JSON where there is nothing.
func notNil[T any](list []T) []T { return append([]T{}, list...) }

func goneWords(g gc.Gone) string {
	what := "left by refused and broken pushes"
	if g.Deploy != 0 {
		what = "deploy " + g.Deploy.String()
	}
	return fmt.Sprintf("%s: %s, %s", what, text.Count(g.Keys, "key"), text.Size(g.Bytes))
}

// gcWords say what a run of gc did, or would do.
func gcWords(r *gc.Result, dryRun bool) string {
	kept := text.Count(r.Kept, "deploy") + " kept"
	if len(r.Pinned) > 0 {
		kept += fmt.Sprintf(" (pinned: %s)", strings.Trim(fmt.Sprint(r.Pinned), "[]"))
	}
	verb := "deleted"
	if dryRun {
		verb = "would be deleted"
	}
	if r.Keys == 0 {
		return kept + ", nothing " + verb
	}
	words := fmt.Sprintf("%s, %s (%s) %s", kept, text.Count(r.Keys, "key"), text.Size(r.Bytes), verb)
	if r.Deploys > 0 {
		words += " of " + text.Count(r.Deploys, "older deploy")
	}
	return words
}

type keepCmd struct {
	atFlags
	Deploy string `arg:"" complete:"deploy" name:"[chain@]id" help:"The deploy: its number, head, or head~N. CHAIN is REPO or REPO:TARGET of the data directory."`
	Remove bool   `help:"Let gc take it again."`
}

func (*keepCmd) Help() string {
	return "Pins a deploy: gc keeps all of its files, however old it gets. A deploy that is expired already cannot be " +
		"kept. refship gc --dry-run says which are pinned."
}

func (c *keepCmd) Run(ctx context.Context, a *app) error {
	chain, id := cutChain(c.Deploy)
	selector, err := record.ParseSelector(id)
	if err != nil {
		return asUsage("", err)
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	at, settings, err := c.place(ctx, a, chain)
	if err != nil {
		return err
	}
	s, end, err := c.openStore(ctx, a, settings)
	if err != nil {
		return err
	}
	defer end()
	d, err := c.find(ctx, a, s.Chain(at.Target.Namespace).Chain, selector)
	if err != nil {
		return err
	}
	return c.keep(ctx, a, s.Chain(at.Target.Namespace), d, at)
}

func (c *keepCmd) keep(ctx context.Context, a *app, chain *deploy.Chain, d *record.Deploy, at hooks.Place) (err error) {
	name := fmt.Sprintf("deploy %d of %s (%s)", d.ID, chain.Namespace(), d.ShortHash())
	if c.Remove {
		was, err := chain.Unpin(ctx, d.ID)
		switch {
		case err != nil:
			return err
		case was:
			a.say("%s is no longer kept", name)
		default:
			a.say("%s was not kept", name)
		}
		return nil
	}
	who, err := holderOf(a, at.Repository, at.Target.Ref)
	if err != nil {
		return err
	}
	pin := &record.Pin{User: who.User, Host: who.Host, Since: a.now().UTC()}
	before, err := chain.Pin(ctx, d, pin, func() (*deploy.Lock, error) {
		return chain.Lock(ctx, who, chainWait, func(holder record.Holder, waited time.Duration) {
			if waited > time.Second {
				a.say("waiting for %s", holder)
			}
		})
	})
	switch {
	case err != nil:
		return err
	case before:
		a.say("%s is kept already", name)
	default:
		a.say("%s is kept", name)
	}
	return nil
}
