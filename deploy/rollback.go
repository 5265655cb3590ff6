package deploy

import (
	"context"
	"fmt"

	"refship/deploy/fault"
	"refship/deploy/plan"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
	"refship/keys"
)

const (
	// ReasonHeadMoved: the head is not the one that a rollback was asked for. About: its id.
	ReasonHeadMoved fault.Reason = "head-moved"
	// ReasonNoRecord: a deploy has no record, and so nothing to go back to. About: its id.
	ReasonNoRecord fault.Reason = "deploy-without-record"
	// ReasonContentGone: a deploy's content is not whole in etcd. About: its id, hash and namespace, and of the
	// repository that still has its commit name, target and GIT_DIR; these are "" if it is not known.
	ReasonContentGone fault.Reason = "deploy-content-gone"
)

// NewRollback makes the job that publishes an earlier deploy of the chain again. It reads the head once: another one at
// the publish is a conflict. The caller adds what is the same for all jobs: who, why, and by which server.
func (c *Chain) NewRollback(ctx context.Context, which record.Selector) (*Job, error) {
	state, err := c.State(ctx)
	if err != nil {
		return nil, err
	}
	if state.Head == nil {
		return nil, fault.Newf(fault.Refused, "there is nothing to go back to: %s", c.ns.Undeployed())
	}
	d, err := c.FindUnder(ctx, which, state.Head)
	switch {
	case err != nil:
		return nil, err
	case d.Damage != nil:
		return nil, d.Damage
	case d.Record == nil:
		return nil, &fault.Error{
			Kind: fault.Refused, Reason: ReasonNoRecord, About: []string{d.ID.String()},
			What: fmt.Sprintf("deploy %d of %s is another writer's: without a record nothing says what is in it", d.ID, c.ns),
		}
	}
	r := d.Record
	job := &Job{
		Kind: record.KindRollback, To: d, From: state.Head.ID, ByNumber: which.IsExact(), Path: r.Path,
		Frontend: r.Frontend, Repository: r.Repository, Target: r.Target, Ref: r.Ref,
		MaxStored: record.NoLimit,
	}
	for name, value := range r.Settings {
		if err := job.Settings.Set(name, value); err != nil {
			return nil, record.Corrupt(c.DeployKey(d.ID, record.KeyRecord), err.Error())
		}
	}
	return job, nil
}

// readDeploy is readSource of a rollback.
func (v *Verdict) readDeploy(to *record.Deploy) {
	_, subject := record.ParseRollback(to.Record)
	v.tree, v.author, v.subject = to.Record.Tree, to.Record.Author, record.RollbackSubject(to.ID, subject)
}

// checkRollback says whether a rollback may replace the head. It skips the table of previous hashes.
func (c *Chain) checkRollback(job *Job, v *Verdict, signers *keys.AllowedSigners) error {
	if signers != nil {
		if _, err := job.To.Judge(signers); err != nil {
			return err
		}
	}
	if job.Signer == nil && v.Head.Record != nil && v.Head.Record.Signer != "" {
		return &fault.Error{
			Kind: fault.Refused, Reason: ReasonNotAllowed, About: []string{string(job.Kind), ""},
			What: "the rollback would not be signed, and the head is",
		}
	}
	if v.Head.ID != job.From {
		return c.conflict(job, v.Head, fmt.Sprintf("it was at deploy %d when the rollback was asked for", job.From), "",
			ReasonHeadMoved)
	}
	v.Already, v.Commits = job.Is(v.Head), job.commits()
	return nil
}

// planRollback plans to publish an old deploy's content again. Nothing is to be stored.
func (p *Prepared) planRollback(ctx context.Context) (*plan.Plan, error) {
	made, err := p.planAgain(ctx, p.job.To)
	if reason, _ := fault.ReasonOf(err); err != nil && (reason == record.ReasonDamaged || reason == store.ReasonExpired ||
		fault.Is(err, fault.Corrupt)) {
		return nil, p.contentGone(err)
	}
	return made, err
}

func (p *Prepared) planAgain(ctx context.Context, to *record.Deploy) (*plan.Plan, error) {
	task := p.task()
	above, err := p.chain.Above(ctx, to.Record)
	if err != nil {
		return nil, err
	}
	task.Objects = append(task.Objects, above...)
	made, err := plan.Again(ctx, task, to.Record.Root(), p.chain.DeployKey(to.ID, record.KeyPayload))
	if err == nil && p.Frontend.IsMgmt() {
		err = p.chain.mgmtPartsAreThere(ctx, to)
	}
	err = p.chain.Explain(ctx, err, to)
	if err != nil && made != nil {
		made.Drop()
		made = nil
	}
	return made, err
}

// contentGone says that what a rollback's deploy had is not whole in etcd, and whether its repository still has it.
func (p *Prepared) contentGone(why error) error {
	job, d := p.job, p.job.To
	about := []string{d.ID.String(), string(d.Hash), string(p.chain.ns), "", "", ""}
	told := ""
	switch name := text.Printable(job.Repository); {
	case d.Hash.IsTree():
	case job.Repo == nil && name != "":
		told = "; it came from the repository " + name
	case job.Repo == nil:
	case !has(job.Repo, d.Hash):
		told = fmt.Sprintf("; the repository %s does not have %s either", name, d.Hash.Short())
	default:
		told = fmt.Sprintf("; the repository %s still has %s", name, d.Hash.Short())
		copy(about[3:], []string{job.Repository, job.Target, job.Repo.Dir()})
	}
	return &fault.Error{
		Kind: fault.Refused, Cause: why, Reason: ReasonContentGone, About: about,
		What: fmt.Sprintf("deploy %d of %s cannot come back, what it had is not whole in etcd: %v%s", d.ID, p.chain.ns, why,
			told),
	}
}

// mgmtPartsAreThere looks for what mgmt needs of a deploy beside its contents.
func (c *Chain) mgmtPartsAreThere(ctx context.Context, d *record.Deploy) error {
	parts, err := c.MgmtParts(ctx, d)
	if err != nil {
		return err
	}
	var names []string
	for _, part := range parts {
		names = append(names, part.Key)
	}
	missing, err := c.Missing(ctx, names)
	if err == nil && len(missing) > 0 {
		err = record.Missing(missing[0])
	}
	return err
}
