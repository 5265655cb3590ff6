package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/output"
	"refship/hooks/report"
	"refship/hooks/target"
	"refship/hooks/words"
)

// lockTries is how often a deploy begins anew whose lock was lost on the way.
const lockTries = 3

// cost is what a run has spent so far.
type cost struct {
	lockWait time.Duration // waiting for chain locks
	stored   int64         // bytes that were put into etcd
}

// run takes deliveries into their chains, in two halves:
//
//	prepare   verdict → check → lock → verdict → read → room → upload,
//	          or, of one small delivery: verdict → check → read → room → lock and upload in one txn
//	finish    publish → tell, one delivery after the other
//
// A push writes its intent between the halves, and git moves the refs. All others call deliver, which does both. One
// refusal in prepare refuses all deliveries of the run. A run belongs to one goroutine at a time.
type run struct {
	engine      *Engine
	gitDir      string   // of the repository; "": the deliveries are plain directories
	quarantine  []string // the variables with which git sees a push's new objects; nil: they are in the repository
	deliveries  []*delivery
	out         *output.Output
	nice        int             // see Push
	repository  *git.Repository // while it is open
	client      context.Context // ends when the client is gone; only a check ends with it; nil: there is no client
	gone        error           // what a check then ends with
	greet       bool            // tell who deploys what
	told        bool            // an earlier run has told what there is to tell before the outcome
	announce    bool            // tell how much there is to store, and that force was not needed
	dryRun      bool            // write nothing
	aboutCommit bool            // what would come of a commit is asked: no push is there that could be signed
	began       time.Time
	cost        *cost
	giveRoom    func() // gives back the room on etcd's disk; nil: none is taken
	trouble     error  // what keeps all further deliveries from being published
}

func (e *Engine) newRun(gitDir string, out *output.Output, deliveries ...*delivery) *run {
	return &run{engine: e, gitDir: gitDir, deliveries: deliveries, out: out, began: time.Now(), cost: new(cost)}
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

// tell tells the user lines about one delivery.
func (r *run) tell(d *delivery, lines ...string) {
	for _, line := range lines {
		r.out.Line("%s%s", d.label, line)
	}
}

// phase tells how far some deliveries are.
func (r *run) phase(is report.Phase, all ...*delivery) {
	tell := r.engine.cfg.Step
	if tell == nil || r.dryRun {
		return
	}
	for _, d := range all {
		step := report.Step{
			Delivery: d.number, Namespace: d.target.Namespace, Repository: d.job.Repository, Target: d.target.Name,
			By: d.job.Pusher.Name, Phase: is,
		}
		if !d.job.Commit.IsZero() {
			step.Hash = record.CommitHash(d.job.Commit)
		}
		if d.deploy != nil {
			step.ID, step.Hash = d.deploy.ID, d.deploy.Hash
		}
		tell(step)
	}
}

// deliver is the whole way of deliveries that need no push: prepare and finish. It stops at the first error.
func (r *run) deliver(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			r.phase(report.Failed, r.open()...)
		}
	}()
	leave, err := r.engine.enter(ctx, r.out)
	if err != nil {
		return err
	}
	defer leave()
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
	if err := r.limit(); err != nil {
		return err
	}
	r.phase(report.Checking, r.open()...)
	if err := r.withMemory(ctx, 0, r.judge); err != nil {
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
	if done, err := r.small(ctx); err != nil || done {
		return err
	}
	if err := r.lock(ctx); err != nil {
		if deploy.IsFull(err) { // even for a lock: say how much the run needs, and what etcd has
			if err := r.inTurn(ctx, r.read); err != nil {
				return err
			}
		}
		return err
	}
	r.engine.step(ctx, "locked")
	return r.inTurn(ctx, r.load)
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
	if err := repo.Lower(r.nice); err != nil {
		return nil, errors.Join(err, repo.Close())
	}
	for _, d := range r.deliveries {
		d.job.Repo = repo
	}
	r.repository = repo
	return func() { _ = repo.Close() }, nil // it was read
}

// limit tells the deliveries whether they are a dry run, and how much their namespaces may hold, as the git config has
// it now: what waits to be deployed gets a limit that was raised meanwhile. Without a target it is the operator who
// deploys, and has no limit.
func (r *run) limit() error {
	for _, d := range r.deliveries {
		d.job.DryRun = r.dryRun
		if d.target.Name == "" || r.gitDir == "" || d.job.To != nil {
			d.job.MaxStored = record.NoLimit
			continue
		}
		config, err := target.Read(r.gitDir)
		if err != nil {
			return err
		}
		d.job.MaxStored = config.Settings.MaxStored
	}
	return nil
}

// judge asks each chain for its verdict, before anything is locked.
func (r *run) judge(ctx context.Context) error {
	return forEach(r.open(), func(d *delivery) error {
		return r.out.During(d.label, "checking", func(func(text.Progress)) error {
			if err := d.job.Peel(ctx); err != nil {
				return fmt.Errorf("read what is to be deployed: %w", err)
			}
			v, err := d.chain.Check(ctx, d.job)
			if err != nil {
				return err
			}
			if err := r.judged(d, v); err != nil {
				return err
			}
			return r.checkSigned(ctx, d)
		})
	})
}

// forEach takes a step for each delivery and tells all refusals. Other trouble, with etcd or the repository, ends it:
// the other deliveries would meet it, too.
func forEach(deliveries []*delivery, step func(*delivery) error) error {
	var refused fault.Refusals
	for _, d := range deliveries {
		err := step(d)
		if err != nil && !isRefusal(err) {
			return err
		}
		refused.Add(err)
	}
	return refused.Err()
}

// judged takes a verdict in, and tells it unless its head was told before. Of a delivery with nothing to do this is the
// last word.
func (r *run) judged(d *delivery, v *deploy.Verdict) error {
	before := d.verdict
	if err := d.takeVerdict(v); err != nil {
		return err
	}
	switch {
	case v.Idle():
		d.deploy = v.Head
		r.phase(report.Idle, d)
		r.tell(d, words.NothingToDo(d.target.Namespace, d.job, v))
	case r.told, before != nil && !isNewer(v, before):
		return nil
	case r.greet:
		r.tell(d, words.Greeting(d.job, v))
	}
	r.tell(d, words.Warnings(d.target.Namespace, d.job, v)...)
	switch {
	case before != nil || !r.announce || len(v.Back) > 0:
	case d.job.Force && v.Forced == nil:
		r.tell(d, "force was not needed: there is nothing to override")
	case len(d.job.Again) == 1: // of several the others may be other chains'
		r.tell(d, "again was not needed: nothing that was undone comes back")
	}
	return nil
}

// load reads what is to be deployed, and brings etcd what it lacks.
func (r *run) load(ctx context.Context) error {
	if err := r.read(ctx); err != nil {
		return err
	}
	r.engine.step(ctx, "prepared")
	for _, d := range r.open() {
		r.phase(report.Storing, d)
		err := r.out.During(d.label, "storing", func(progress func(text.Progress)) error {
			return r.upload(ctx, d, progress)
		})
		if err != nil {
			return err
		}
	}
	r.engine.step(ctx, "uploaded")
	return context.Cause(ctx)
}

// drop gives the memory and the room on the disk back that deliveries took: what was stored needs them no more, what
// was not stored will be read again.
func (r *run) drop() {
	if r.giveRoom != nil {
		r.giveRoom()
		r.giveRoom = nil
	}
	for _, d := range r.deliveries {
		if d.prepared != nil {
			d.prepared.Drop()
		}
	}
}

// read reads what is to be deployed, and says how much there is to store.
func (r *run) read(ctx context.Context) error {
	if err := r.readAll(ctx, r.open); err != nil {
		return err
	}
	for _, d := range r.open() {
		r.tellAmounts(d)
	}
	return nil
}

// readAll prepares deliveries, each with its lock if it has one, refuses what cannot be deployed, and takes room in
// etcd.
func (r *run) readAll(ctx context.Context, which func() []*delivery) error {
	err := forEach(which(), func(d *delivery) error {
		return r.out.During(d.label, "reading", func(progress func(text.Progress)) (err error) {
			d.prepared, err = d.chain.Prepare(ctx, d.lock, d.job, progress)
			if err != nil {
				return err
			}
			d.read = d.prepared
			if err := r.judged(d, d.prepared.Verdict); err != nil { // the chain may have gone on
				return err
			}
			return r.checkSigned(ctx, d)
		})
	})
	if err != nil {
		return err
	}
	var all []*deploy.Prepared
	for _, d := range which() {
		all = append(all, d.prepared)
	}
	for _, d := range r.deliveries {
		if d.idle() {
			r.release(ctx, d) // it needs its lock no more
		}
	}
	return r.out.During("", "checking", func(func(text.Progress)) (err error) {
		r.giveRoom, err = r.engine.cfg.Store.TakeRoom(ctx, all)
		return err
	})
}

// tellAmounts says once how much there is to store.
func (r *run) tellAmounts(d *delivery) {
	if d.amountsTold || r.told {
		return
	}
	d.amountsTold = true
	if r.announce {
		r.tell(d, words.Amounts(d.job, d.prepared)...)
	} else {
		r.tell(d, words.Picked(d.job, d.prepared)...)
	}
}

// upload stores one delivery, and counts what was stored.
func (r *run) upload(ctx context.Context, d *delivery, progress func(text.Progress)) error {
	written, wasAtMost := int64(0), d.prepared.AtMost
	err := d.prepared.Upload(ctx, func(p text.Progress) {
		written = p.Bytes
		progress(p)
	})
	if err == nil {
		written = d.prepared.NewBytes
		if wasAtMost && r.announce && !r.told && !d.uploadTold {
			d.uploadTold = true
			r.tell(d, words.Uploaded(d.prepared))
		}
	}
	r.cost.stored += written
	if errors.Is(err, deploy.ErrLockLost) {
		return nil // Publish finds the same, and then it begins anew
	}
	return err
}

// finish publishes a delivery and tells what became of it. After trouble that concerns all, nothing more is tried.
func (r *run) finish(ctx context.Context, d *delivery) error {
	d.finished = true
	if r.trouble != nil {
		r.phase(report.Failed, d)
		return fmt.Errorf("publish to %s: %w", d.target.Namespace, errNotAttempted)
	}
	r.phase(report.Publishing, d)
	err := r.out.During(d.label, "publishing", func(func(text.Progress)) error { return r.publish(ctx, d) })
	r.release(ctx, d)
	if err != nil {
		r.phase(report.Failed, d)
		err = fmt.Errorf("publish to %s: %w", d.target.Namespace, err)
		if concernsAll(err) {
			r.trouble = err
		}
		return err
	}
	if d.published {
		r.phase(report.Published, d)
		if published := r.engine.cfg.Published; published != nil {
			published()
		}
		r.tell(d, words.Published(d.job, d.deploy, time.Since(r.began)))
		r.tell(d, words.Released(d.read.Rollout)...)
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
