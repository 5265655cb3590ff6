package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

const (
	// maxLoading is how many deliveries are read and stored at a time, all runs together: each keeps up to 32 MiB of
	// new content between reading and storing it, and a few MiB of requests to etcd, so this bounds the memory for
	// them to some 300 MiB. More at once would be no faster: git and etcd's disk are what everything waits for.
	maxLoading = 8
	// lockTries is how often a deploy begins anew whose lock was lost on the way.
	lockTries = 3
)

// errDryRun ends a dry run that found nothing wrong.
var errDryRun = errors.New("dry run: nothing was pushed or deployed")

// cost is what a run has spent so far.
type cost struct {
	lockWait time.Duration // waiting for chain locks
	stored   int64         // bytes that were put into etcd
}

// run takes deliveries into their chains, in two halves:
//
//	prepare   verdict → check → lock → verdict → read → room → upload
//	finish    publish → tell, one delivery after the other
//
// A push writes its intent between the halves, and git moves the refs. All others call deliver, which does both. One
// refusal in prepare refuses all deliveries of the run. A run belongs to one goroutine at a time.
type run struct {
	engine     *Engine
	gitDir     string   // of the repository; "": the deliveries are plain directories
	quarantine []string // the variables with which git sees a push's new objects; nil: they are in the repository
	deliveries []*delivery
	out        *output
	client     context.Context // ends when the client is gone; only a check ends with it; nil: there is no client
	gone       error           // what a check then ends with
	greet      bool            // tell who deploys what
	told       bool            // an earlier run has told what there is to tell before the outcome
	announce   bool            // tell how much there is to store, and that force was not needed
	dryRun     bool            // write nothing
	began      time.Time
	cost       *cost
	trouble    error // what keeps all further deliveries from being published
}

// open are the deliveries that have something to deploy.
func (r *run) open() []*delivery {
	var open []*delivery
	for _, d := range r.deliveries {
		if !d.idle() && !d.finished {
			open = append(open, d)
		}
	}
	return open
}

// deliver is the whole way of deliveries that need no push: prepare and finish. It stops at the first error.
func (r *run) deliver(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	defer r.releaseAll(ctx)
	for _, d := range r.open() {
		if err := r.finish(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// prepare does everything up to the upload, under the chains' locks. Nobody sees what it stores. If it fails, the locks
// are given back.
func (r *run) prepare(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			r.releaseAll(ctx)
		}
	}()
	close, err := r.openRepository(ctx)
	if err != nil {
		return err
	}
	defer close()
	if err := r.judge(ctx); err != nil {
		return err
	}
	if err := r.check(ctx); err != nil {
		return err
	}
	r.engine.step(ctx, "checked")
	if r.dryRun {
		return r.rehearse(ctx)
	}
	if len(r.open()) == 0 {
		return nil
	}
	if err := r.lock(ctx); err != nil {
		if deploy.IsFull(err) {
			return r.refuseFull(ctx, err)
		}
		return err
	}
	r.engine.step(ctx, "locked")
	return r.load(ctx)
}

// openRepository lets the deliveries read the repository until close is called.
func (r *run) openRepository(ctx context.Context) (close func(), err error) {
	if r.gitDir == "" || len(r.deliveries) == 0 {
		return func() {}, nil
	}
	repo, err := git.OpenRepository(ctx, r.gitDir, r.quarantine)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	for _, d := range r.deliveries {
		d.job.Repo = repo
	}
	return func() { _ = repo.Close() }, nil // it was read
}

// judge asks each chain for its verdict, before anything is locked.
func (r *run) judge(ctx context.Context) error {
	var refused refusals
	for _, d := range r.open() {
		err := r.out.during(d.label, "checking", func(func(text.Progress)) error {
			v, err := d.chain.Check(ctx, d.job)
			if err != nil {
				return err
			}
			return r.judged(d, v)
		})
		if err != nil && !isRefusal(err) {
			return err // etcd or the repository is in trouble: the other chains would say the same
		}
		refused.add(err)
	}
	return refused.err()
}

// judged takes a verdict in, and tells it unless its head was told before. Of a delivery with nothing to do this is the
// last word.
func (r *run) judged(d *delivery, v *deploy.Verdict) error {
	before := d.verdict
	if err := d.take(v); err != nil {
		return err
	}
	switch {
	case v.Idle():
		d.deploy = v.Head
		r.out.line("%s", d.label+d.nothingToDo())
	case r.told, before != nil && !isNewer(v, before):
		return nil
	case r.greet:
		r.out.line("%s", d.greeting())
	}
	for _, line := range d.warnings(r.dryRun) {
		r.out.line("%s%s", d.label, line)
	}
	if before == nil && r.announce && d.job.Force && v.Forced == nil {
		r.out.line("%sforce was not needed: there is nothing to override", d.label)
	}
	return nil
}

// load reads what is to be deployed, and brings etcd what it lacks.
func (r *run) load(ctx context.Context) error {
	give, err := r.turn(ctx)
	if err != nil {
		return err
	}
	defer give()
	if err := r.read(ctx); err != nil {
		return err
	}
	r.engine.step(ctx, "prepared")
	for _, d := range r.open() {
		err := r.out.during(d.label, "storing", func(progress func(text.Progress)) error {
			return r.upload(ctx, d, progress)
		})
		if err != nil {
			return err
		}
	}
	r.engine.step(ctx, "uploaded")
	return context.Cause(ctx)
}

// turn waits until there is room among those who read and store. A run has its chain locks before it takes its turn, or
// needs none until it gives the turn back, and waits for no lock while it has one: so no run waits in a circle.
func (r *run) turn(ctx context.Context) (give func(), err error) {
	n := int64(min(len(r.open()), maxLoading))
	err = r.out.during("", "waiting for other deploys to be stored", func(func(text.Progress)) error {
		return r.engine.loading.Acquire(ctx, n)
	})
	if err != nil {
		return nil, context.Cause(ctx)
	}
	return func() { r.engine.loading.Release(n) }, nil
}

// read prepares each delivery, with its lock if it has one, refuses what cannot be deployed, asks for room in etcd, and
// says how much there is to store.
func (r *run) read(ctx context.Context) error {
	var refused refusals
	for _, d := range r.open() {
		err := r.out.during(d.label, "reading", func(progress func(text.Progress)) (err error) {
			d.prepared, err = d.chain.Prepare(ctx, d.lock, d.job, progress)
			if err != nil {
				return err
			}
			d.read = d.prepared
			return r.judged(d, d.prepared.Verdict) // the chain may have gone on
		})
		if err != nil && !isRefusal(err) {
			return err
		}
		refused.add(err)
	}
	if err := refused.err(); err != nil {
		return err
	}
	r.releaseIdle(ctx)
	var all []*deploy.Prepared
	for _, d := range r.open() {
		all = append(all, d.prepared)
	}
	err := r.out.during("", "checking", func(func(text.Progress)) error {
		return r.engine.cfg.Store.CheckRoom(ctx, all)
	})
	if err != nil {
		return err
	}
	for _, d := range r.open() {
		r.tellAmounts(d)
	}
	return nil
}

// tellAmounts says once how much there is to store.
func (r *run) tellAmounts(d *delivery) {
	if d.amountsTold || r.told {
		return
	}
	d.amountsTold = true
	lines := d.picked()
	if r.announce {
		lines = d.amounts()
	}
	for _, line := range lines {
		r.out.line("%s%s", d.label, line)
	}
}

// upload stores one delivery, and counts what was stored.
func (r *run) upload(ctx context.Context, d *delivery, progress func(text.Progress)) error {
	written := int64(0)
	err := d.prepared.Upload(ctx, func(p text.Progress) {
		written = p.Bytes
		progress(p)
	})
	if err == nil {
		written = d.prepared.NewBytes
	}
	r.cost.stored += written
	return err
}

// refuseFull says how much the run needs and what etcd has, where etcd is too full even for a lock.
func (r *run) refuseFull(ctx context.Context, cause error) error {
	give, err := r.turn(ctx)
	if err != nil {
		return err
	}
	defer give()
	if err := r.read(ctx); err != nil {
		return err
	}
	return cause
}

// finish publishes a delivery and tells what became of it. After trouble that concerns all, nothing more is tried.
func (r *run) finish(ctx context.Context, d *delivery) error {
	d.finished = true
	if r.trouble != nil {
		return fmt.Errorf("publish to %s: %w", d.target.Namespace, errNotAttempted)
	}
	err := r.out.during(d.label, "publishing", func(func(text.Progress)) error { return r.publish(ctx, d) })
	r.release(ctx, d)
	if err != nil {
		err = fmt.Errorf("publish to %s: %w", d.target.Namespace, err)
		if concernsAll(err) {
			r.trouble = err
		}
		return err
	}
	if d.published {
		r.out.line("%s", d.label+d.outcome(time.Since(r.began)))
	}
	return nil
}

// errNotAttempted: an earlier failure would have come again.
var errNotAttempted = errors.New("not attempted after the failure above")

// publish makes a delivery visible. If its lock was lost, it begins anew: the chain may have gone on.
func (r *run) publish(ctx context.Context, d *delivery) error {
	for try := 0; ; try++ {
		if d.prepared == nil && !d.idle() {
			if err := r.again(ctx, d); err != nil {
				return err
			}
		}
		if d.idle() {
			return nil
		}
		published, err := d.prepared.Publish(ctx)
		if err == nil {
			d.deploy, d.published, d.lock, d.prepared = published, true, nil, nil // the txn took the lock
			return nil
		}
		if !errors.Is(err, deploy.ErrLockLost) || try == lockTries {
			return err
		}
		r.engine.cfg.Log.WarnContext(ctx, "publish again", "namespace", d.target.Namespace, "error", err)
		// A run that waits for a lock holds none that comes later: the other deliveries begin anew in their turn.
		r.releaseAll(ctx)
	}
}

// again prepares one delivery of the run a second time, when git has moved the refs.
func (r *run) again(ctx context.Context, d *delivery) error {
	again := *r
	again.deliveries, again.quarantine, again.greet = []*delivery{d}, nil, false
	d.finished = false
	defer func() { d.finished = true }()
	return again.prepare(ctx)
}

// outcome says what was published. It is the one place that does.
func (d *delivery) outcome(took time.Duration) string {
	words := fmt.Sprintf("deploy %d published in %s: %s", d.deploy.ID, text.Took(took), d.deploy.Hash.Short())
	switch previous := d.deploy.Record.PreviousHash; {
	case previous != "":
		words += " replaces " + previous.Short()
	case d.deploy.ID == 1:
		words += " is the first"
	}
	if d.job.Signer == nil {
		words += ", not signed"
	}
	return words
}

// nothingToDo says why a delivery makes no deploy. It is the one place that does.
func (d *delivery) nothingToDo() string {
	head, ns := d.verdict.Head, d.target.Namespace
	if d.verdict.Already {
		return alreadyDeployed(head, ns)
	}
	return fmt.Sprintf("nothing below %s changed: no deploy, %s stays at deploy %d", d.target.Path, ns, head.ID)
}

func alreadyDeployed(d *record.Deploy, ns record.Namespace) string {
	return fmt.Sprintf("%s is already deployed as %d of %s", d.Hash.Short(), d.ID, ns)
}

// results are what became of the finished deliveries, for the log and the report.
type results struct {
	published []*record.Deploy
	lines     []string // "/refship/config 7"
	already   bool
	unchanged bool
	forced    bool
	commits   int
}

func (r *run) results() results {
	var all results
	for _, d := range r.deliveries {
		switch {
		case d.published:
			all.published = append(all.published, d.deploy)
			all.lines = append(all.lines, fmt.Sprintf("%s %d", d.target.Namespace, d.deploy.ID))
			all.forced = all.forced || d.deploy.Record.Forced
			all.commits += d.deploy.Record.Commits
		case d.idle():
			all.already = all.already || d.verdict.Already
			all.unchanged = all.unchanged || d.verdict.Same
		}
	}
	return all
}
