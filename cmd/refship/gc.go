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
	"refship/deploy/gc"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/gitserver/repos"
	"refship/hooks"
	"refship/hooks/target"
)

// keepFlags say which deploys gc keeps.
type keepFlags struct {
	KeepLast   int  `default:"100" placeholder:"N" help:"Keep the newest N deploys."`
	KeepWithin span `default:"90d" placeholder:"TIME" help:"Keep all deploys of the last TIME, such as 90d or 12h."`
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
	chainFlags
	keepFlags
	DryRun  bool   `short:"n" help:"Delete nothing. List what would go, deploy by deploy."`
	Compact bool   `help:"Compact and defragment an etcd of your own, too, and disarm its alarm NOSPACE: all who use it notice that. The etcd of a refship server gets it anyway."`
	Chain   string `arg:"" optional:"" name:"chain" help:"REPO or REPO:TARGET of the data directory. Default: all of its chains, or --namespace."`
}

func (*gcCmd) Help() string {
	return "Deletes files of old deploys from etcd, as far as no deploy needs them that is kept: the newest, those of the " +
		"last 90 days, the head, and what refship keep pins. The records of all deploys stay, so that log, show and a later " +
		"check of the history still have them. A deploy that has lost files is expired: it cannot be checked out or rolled " +
		"back to. A server does the same by itself: serve --gc-every."
}

func (c *gcCmd) Run(ctx context.Context, a *app) (err error) {
	if err := errors.Join(c.check(), c.etcdFlags.check()); err != nil {
		return err
	}
	all, err := c.chains(a, c.Chain)
	if err != nil {
		return err
	}
	client, err := c.connect(ctx, a, quietLog(a))
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	s := newStore(client, nil, quietLog(a))
	defer func() { _ = s.Close(context.WithoutCancel(ctx)) }() // its locks end with their lease
	collect := func() error {
		for _, ns := range all {
			if err := c.collect(ctx, a, s, ns); err != nil {
				return err
			}
		}
		return nil
	}
	if c.DryRun {
		return collect()
	}
	return newRoomMaker(a, client, c.Compact).around(ctx, collect)
}

// chains are those of a repository's target, of --namespace, or all of the data directory.
func (f *chainFlags) chains(a *app, chain string) ([]record.Namespace, error) {
	if chain != "" || f.Namespace != "" {
		at, err := f.place(a, chain)
		return []record.Namespace{at.Target.Namespace}, err
	}
	dir, err := f.dir(a)
	if err != nil {
		return nil, err
	}
	listed, err := dir.repos().List()
	if err != nil {
		return nil, err
	}
	all := target.Namespaces(repos.AllTargets(listed))
	if len(all) == 0 {
		return nil, usagef("no repository in %s deploys anything: give --namespace", dir.path)
	}
	return all, nil
}

// collect collects one chain.
func (c *gcCmd) collect(ctx context.Context, a *app, s *deploy.Store, ns record.Namespace) error {
	if err := c.checkUsed(ctx, a, s.Chain(ns)); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	bar := newProgressBar(a.stderr, a.now)
	cfg := gc.Config{
		Store: s, Who: record.Holder{User: "gc of " + changer(a), Host: host},
		KeepLast: c.KeepLast, KeepWithin: time.Duration(c.KeepWithin), DryRun: c.DryRun, Progress: bar.update,
	}
	if c.DryRun {
		cfg.Gone = func(g gc.Gone) {
			bar.clear()
			fmt.Fprintln(a.stdout, goneWords(g))
		}
	}
	r, err := gc.Run(ctx, cfg, ns)
	bar.clear()
	if r.Keys > 0 || err == nil {
		fmt.Fprintf(a.stdout, "%s: %s\n", ns, gcWords(r, c.DryRun))
	}
	return err
}

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
	chainFlags
	Deploy string `arg:"" name:"[chain@]id" help:"The deploy: its number, head, or head~N. CHAIN is REPO or REPO:TARGET of the data directory."`
	Remove bool   `help:"Let gc take it again."`
}

func (*keepCmd) Help() string {
	return "Pins a deploy: gc keeps all of its files, however old it gets. A deploy that is expired already cannot be " +
		"kept. refship gc --dry-run says which are pinned."
}

func (c *keepCmd) Run(ctx context.Context, a *app) (err error) {
	chain, id := cutChain(c.Deploy)
	selector, err := record.ParseSelector(id)
	if err != nil {
		return asUsage("", err)
	}
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	at, err := c.place(a, chain)
	if err != nil {
		return err
	}
	client, err := c.connect(ctx, a, quietLog(a))
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	s := newStore(client, nil, quietLog(a))
	defer func() { _ = s.Close(context.WithoutCancel(ctx)) }() // its locks end with their lease
	d, err := c.find(ctx, a, store.Open(client, at.Target.Namespace), selector)
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
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	who := record.Holder{User: changer(a), Repository: at.Repository, Ref: at.Target.Ref, Host: host}
	lock, err := chain.Lock(ctx, who, chainWait, func(holder record.Holder, waited time.Duration) {
		if waited > time.Second {
			a.say("waiting for %s", holder)
		}
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock(context.WithoutCancel(ctx))) }()
	before, err := chain.Pin(ctx, lock, d, &record.Pin{User: changer(a), Host: host, Since: a.now().UTC()})
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
