package hooks

import (
	"context"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/record"
	"refship/deploy/text"
)

// upload takes the locks, plans under them, and brings etcd what it lacks. Nothing of it is visible.
func (x *Session) upload(ctx context.Context, out *speaker) error {
	if len(x.plans) == 0 {
		return nil
	}
	if err := x.lock(ctx, out); deploy.IsFull(err) {
		return x.refuseFull(ctx, out, err)
	} else if err != nil {
		return err
	}
	x.step("locked")
	give, err := x.turn(ctx, out)
	if err != nil {
		return err
	}
	defer give()
	if err := x.read(ctx, out); err != nil {
		return err
	}
	x.step("prepared")
	for _, p := range x.plans {
		err := out.during(p.label, "storing", func(progress func(text.Progress)) error {
			return store(ctx, p.prepared, &x.cost, progress)
		})
		if err != nil {
			return err
		}
	}
	x.step("uploaded")
	return nil
}

// lock takes the locks of all chains, sorted by namespace, so that two pushes never wait for each other.
func (x *Session) lock(ctx context.Context, out *speaker) error {
	start := time.Now()
	defer func() { x.cost.lockWait += time.Since(start) }()
	for _, p := range x.plans {
		who := x.server.holder(x.who.Name, x.push.Repository, p.update.Ref)
		lock, v, err := x.server.lock(ctx, p.chain, p.job, p.verdict, who, start.Add(x.server.lockWait), func(words string) { out.line("%s", words) })
		if err != nil {
			return err
		}
		if p.lock = lock; lock == nil {
			p.verdict = v
			x.greet(p, out)
		}
	}
	x.leaveOut()
	return context.Cause(ctx)
}

// refuseFull says how much a push needs and what etcd has, where etcd is too full even for a lock.
func (x *Session) refuseFull(ctx context.Context, out *speaker, cause error) error {
	give, err := x.turn(ctx, out)
	if err != nil {
		return err
	}
	defer give()
	if err := x.read(ctx, out); err != nil {
		return err
	}
	return cause
}

// turn waits until there is room among those who read and store.
func (x *Session) turn(ctx context.Context, out *speaker) (give func(), err error) {
	if len(x.plans) == 0 {
		return func() {}, nil
	}
	err = out.during("", stepQueue, func(func(text.Progress)) (err error) {
		give, err = x.server.turns.take(ctx, len(x.plans))
		return err
	})
	return give, err
}

// read prepares every plan, refuses what cannot be deployed, and says how much there is to store.
func (x *Session) read(ctx context.Context, out *speaker) error {
	var refused refusals
	for _, p := range x.plans {
		err := out.during(p.label, "reading", func(progress func(text.Progress)) (err error) {
			p.prepared, err = p.chain.Prepare(ctx, p.lock, p.job, progress)
			return err
		})
		if err != nil && !isRefusal(err) {
			return err
		}
		if err != nil {
			refused.add(err)
			continue
		}
		said := p.verdict
		if err := onlyOver(p.prepared.Verdict, over(said)); err != nil {
			refused.add(err)
			continue
		}
		if p.verdict = p.prepared.Verdict; p.verdict.Idle() || isNewer(p.verdict, said) {
			x.greet(p, out) // the chain went on while this push waited
		}
	}
	if err := refused.err(); err != nil {
		return err
	}
	x.leaveOut()
	return x.room(ctx, out)
}

// isNewer tells whether a verdict has another head than the one before.
func isNewer(v, before *deploy.Verdict) bool {
	return v.Head != nil && (before.Head == nil || v.Head.ID != before.Head.ID)
}

// room says how much there is to store, and refuses what etcd has no room for.
func (x *Session) room(ctx context.Context, out *speaker) error {
	if len(x.plans) == 0 {
		return nil
	}
	var all []*deploy.Prepared
	for _, p := range x.plans {
		all = append(all, p.prepared)
	}
	err := out.during("", "checking", func(func(text.Progress)) error { return x.server.cfg.Store.CheckRoom(ctx, all) })
	if err != nil {
		return err
	}
	for _, p := range x.plans {
		for _, line := range amounts(p.job, p.prepared) {
			out.line("%s%s", p.label, line)
		}
	}
	return nil
}

// amounts say what a deploy changes and how much there is to store.
func amounts(job *deploy.Job, p *deploy.Prepared) []string {
	lines := []string{fmt.Sprintf("%s changed, %s new, %s to store", whatChanged(p), text.Count(p.NewContents, "content"), text.Size(p.NewBytes))}
	lines = append(lines, picked(job, p)...)
	if names := p.Submodules; len(names) > 0 {
		lines = append(lines, fmt.Sprintf("warning: %s recorded only, without content: %s", text.Plural(len(names), "submodule is", "submodules are"), text.FirstFew(names)))
	}
	return lines
}

// picked says what the frontend auto has picked; of another there is nothing to say.
func picked(job *deploy.Job, p *deploy.Prepared) []string {
	if job.Frontend != record.Auto {
		return nil
	}
	return []string{fmt.Sprintf("frontend auto: %s, it starts with %s", p.Frontend, p.Entry)}
}

// sayPicked says it of a deploy outside of a push.
func sayPicked(job *deploy.Job, say func(string)) func(*deploy.Prepared) {
	return func(p *deploy.Prepared) {
		for _, line := range picked(job, p) {
			say(line)
		}
	}
}

// whatChanged counts what a deploy changes: "4 of 812 files", "0 of 812 files and 1 submodule". A submodule's commit is in
// the tree that is recorded: another one makes another deploy.
func whatChanged(p *deploy.Prepared) string {
	words := fmt.Sprintf("%d of %s", p.Changed, text.Count(p.Files+p.Deleted, "file"))
	if n := len(p.Submodules); n > 0 {
		words += " and " + text.Count(n, "submodule")
	}
	return words
}
