package deploy

import (
	"context"

	"refship/deploy/fault"
	"refship/deploy/plan"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Prepared is a job whose tree was read and compared with etcd under the lock. Nothing is written yet. It has a share
// of the memory of its Store, until it is uploaded or dropped.
type Prepared struct {
	Verdict *Verdict
	Rollout *record.Rollout // that was published with it; nil: none
	plan.Summary

	chain    *Chain
	lock     *Lock
	job      *Job
	plan     *plan.Plan     // nil if the verdict is Idle
	stored   *record.Stored // what the namespace holds before the upload; nil: not counted
	counted  bool           // the upload is, in etcd
	uploaded bool
	dropped  bool
}

// Prepare checks the job again, now under the lock, reads what changed and finds out what etcd lacks; most of a large
// tree is read only when it is uploaded, and until then the Summary says how much there is at most. What cannot be
// deployed is refused here, before anything is written. If the verdict is Idle, nothing was read, or mgmt itself has
// deployed just that. Without a lock (nil) it tells what a deploy would do, and the Prepared can neither be uploaded
// nor published.
func (c *Chain) Prepare(
	ctx context.Context, lock *Lock, job *Job, progress func(text.Progress),
) (*Prepared, error) {
	v, err := c.Check(ctx, job)
	if err != nil {
		return nil, err
	}
	p := c.newPrepared(v, job)
	p.lock = lock
	if v.Idle() {
		return p, nil
	}
	if job.To != nil {
		p.plan, err = p.planRollback(ctx)
	} else {
		p.plan, err = plan.Make(ctx, p.task(), progress)
	}
	if err != nil {
		return nil, job.explain(err)
	}
	if job.mgmtHas(v.Head) {
		if v.Already, err = p.isForeign(ctx); err != nil || v.Already {
			p.plan.Drop()
			p.plan = nil
			return p, err
		}
	}
	p.Summary = p.plan.Summary
	return p, nil
}

func (c *Chain) newPrepared(v *Verdict, job *Job) *Prepared {
	return &Prepared{Verdict: v, Summary: plan.Summary{Frontend: job.Frontend}, chain: c, job: job, stored: v.stored}
}

// isForeign tells whether the head, which mgmt itself has made of the same commit, has all that the job would publish.
// One that cannot be read has not.
func (p *Prepared) isForeign(ctx context.Context) (bool, error) {
	f, err := p.chain.Foreign(ctx, p.Verdict.Head)
	switch {
	case fault.Is(err, fault.Corrupt):
		return false, nil
	case err != nil:
		return false, err
	}
	return p.plan.IsMgmt(f.Payload, f.Root)
}

// task is what is to be planned.
func (p *Prepared) task() plan.Task {
	c, v, job := p.chain, p.Verdict, p.job
	task := plan.Task{
		Chain: c.Chain, KV: c.kv, Memory: c.memory, Log: c.log,
		ID: p.nextID(), Hash: job.Hash(), Root: v.tree, Source: job.Source(), Repo: job.Repo, Since: v.previous(), Distrust: job.Force,
		Frontend: job.Frontend, Settings: job.Settings, MaxFile: job.MaxFile, Then: job.afterChange(),
		MayWait: p.lock != nil,
	}
	if v.Head != nil {
		task.Head = v.Head.Record
	}
	if job.Hash().IsTree() {
		return task // its deploy hash is the tree's
	}
	task.Top, task.Path, task.AllowPointers = v.top(), job.Path, job.AllowPointers
	task.Objects = []tree.OID{job.Hash().OID()}
	if !v.More && v.Head != nil {
		task.Objects = append(task.Objects, v.Commits...)
	}
	task.Objects = append(append(task.Objects, v.above...), job.tags...)
	if !job.Certificate.IsZero() {
		task.Objects = append(task.Objects, job.Certificate)
	}
	return task
}

// explain says what to do about a tree that cannot be deployed as it is.
func (j *Job) explain(err error) error {
	switch reason, _ := fault.ReasonOf(err); reason {
	case store.ReasonTreeLarge:
		return &fault.Error{Cause: err, Remedy: "deploy a part of it: give the target a path"}
	case plan.ReasonPointers:
		return &fault.Error{Cause: err, Reason: reason, About: []string{j.Repository, j.Target}}
	case store.ReasonPathLong:
		return &fault.Error{Cause: err, Remedy: "shorten the name, " + j.afterChange()}
	}
	return err
}

// nextID is the id that the deploy will have.
func (p *Prepared) nextID() record.ID {
	return p.Verdict.nextID()
}
