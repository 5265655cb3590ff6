package main

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/scrub"
	"refship/deploy/text"
	"refship/hooks/target"
)

type repairCmd struct {
	storeFlags
	signersFlag
	Name string `arg:"" name:"repo" complete:"repo" help:"The repository's name."`
}

func (*repairCmd) Help() string {
	return "Reads what the newest deploy of each of the repository's targets needs out of etcd, checks every byte, " +
		"and writes what is damaged or missing anew, from the repository. " +
		"A server does the same by itself: serve --scrub-every."
}

// Run scrubs each target of the repository.
func (c *repairCmd) Run(ctx context.Context, a *app) (err error) {
	if err := c.etcdFlags.check(); err != nil {
		return err
	}
	dir, err := c.dir(a)
	if err != nil {
		return err
	}
	if err := dir.checkOwner(); err != nil {
		return err
	}
	repo, err := dir.repos().Find(c.Name)
	if err != nil {
		return err
	}
	allowed, err := c.signers(a, dir)
	if err != nil {
		return err
	}
	log := quietLog(a)
	client, err := c.connect(ctx, a, log)
	if err != nil {
		return err
	}
	defer closeInto(&err, client)
	r := &repair{app: a, bar: newProgressBar(a.stderr, a.now), store: newStore(client, allowed, log)}
	if len(repo.Targets) == 0 {
		a.say("%s: there is nothing to repair", target.NoneIn(repo.Name))
	}
	for _, t := range repo.Targets {
		if err := r.target(ctx, scrubTarget(repo, t)); err != nil {
			return err
		}
	}
	return r.outcome(repo.Name)
}

// repair is one run of `refship repair`.
type repair struct {
	*app
	store  *deploy.Store
	bar    *progressBar
	told   int // of this target
	failed int // of all targets
}

func (r *repair) target(ctx context.Context, t scrub.Target) error {
	r.told = 0
	result, err := scrub.Run(ctx, scrub.Config{Store: r.store, Found: r.found, Progress: r.bar.update}, t)
	r.bar.clear()
	if more := r.told - maxFindings; more > 0 {
		r.say("%s: … and %s damaged", t.Namespace, text.Plural(more, "more key was", "more keys were"))
	}
	r.failed += result.Failed
	if err != nil {
		return err
	}
	r.strays(t.Namespace, result)
	r.say("%s: %s", t.Namespace, repairWords(result))
	return nil
}

// found tells of one damaged key.
func (r *repair) found(f scrub.Finding) {
	if r.told++; r.told <= maxFindings {
		r.bar.clear()
		r.say("%s", text.Printable(f.String()))
	}
}

func (r *repair) strays(ns record.Namespace, result *scrub.Result) {
	for _, stray := range result.Strays {
		r.warn(fmt.Errorf("stray key %s: %s", stray.Key, stray.What))
		r.sayLines("hint", stray.Remedy())
	}
	if result.MoreStrays > 0 {
		r.warn(fmt.Errorf("%s: and %s", ns, moreStrays(result.MoreStrays)))
	}
}

// repairWords say what was read of a target, and what came of it.
func repairWords(r *scrub.Result) string {
	switch {
	case r.Foreign:
		return fmt.Sprintf("deploy %d is another writer's: nothing of it was read", r.Deploy)
	case r.Deploy == 0 && r.Failed == 0:
		return record.NoDeploy
	}
	words := fmt.Sprintf("read %s, %s, of deploy %d", text.Count(r.Keys, "key"), text.Size(r.Bytes), r.Deploy)
	switch {
	case r.Damaged() == 0:
		return words + ": all sound"
	case r.Failed == 0:
		return fmt.Sprintf("%s: %s damaged, all repaired", words, wereKeys(r.Damaged()))
	}
	return fmt.Sprintf("%s: %s damaged, %d repaired", words, wereKeys(r.Damaged()), r.Repaired)
}

// outcome is nil if all is sound now.
func (r *repair) outcome(name string) error {
	if r.failed == 0 {
		return nil
	}
	return fault.New(fault.Corrupt,
		fmt.Sprintf("repair %s: %s damaged and could not be repaired", name, wereKeys(r.failed)),
		"publish it anew, "+
			strings.TrimPrefix(overrideRemedy(true, string(record.KindPush), nil), "override it, ")+
			"; or restore etcd from a backup")
}
