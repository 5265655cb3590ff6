package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"refship/deploy"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// TargetStatus is how one target's ref stands to its chain.
type TargetStatus struct {
	Target   target.Target
	Ref      git.OID         // zero: the ref does not exist
	State    *record.State   // nil: it could not be read, Err says why
	Relation deploy.Relation // "" without Ref or with Err
	Ahead    int             // commits; only with deploy.RelationAhead
	Pending  bool            // an intent of a push that was broken off waits for the ref's commit
	Err      error           // what kept it from being found out
	command  string          // that deploys what the ref has
}

// Status compares every target's ref with its chain. The error is about the repository itself; what is wrong with one
// target is in its Err.
func (e *Engine) Status(ctx context.Context, name, gitDir string) ([]TargetStatus, error) {
	targets, err := target.ReadTargets(gitDir)
	if err != nil || len(targets) == 0 {
		return nil, err
	}
	waiting, err := e.waiting(gitDir)
	if err != nil {
		return nil, err
	}
	now, err := git.ReadRefs(ctx, gitDir, refsOf(targets))
	if err != nil {
		return nil, err
	}
	c := &comparison{engine: e, gitDir: gitDir}
	defer c.close()
	all := make([]TargetStatus, len(targets))
	for i, t := range targets {
		st := TargetStatus{Target: t, Ref: now[t.Ref], command: e.redeploy(name, t)}
		if e.cfg.Redeploy == nil {
			st.command += ":" + t.Name
		}
		for _, w := range waiting {
			st.Pending = st.Pending || w.Target == t && w.New == st.Ref
		}
		st.Err = c.compare(ctx, e.NewJob(record.KindPush, name, t, st.Ref, record.Pusher{}), &st)
		all[i] = st
	}
	return all, nil
}

// comparison holds refs against chains. It opens the repository only if a chain's head is not the very commit of its ref.
type comparison struct {
	engine *Engine
	gitDir string
	repo   *git.Repository
}

func (c *comparison) close() {
	if c.repo != nil {
		_ = c.repo.Close() // it was read
	}
}

func (c *comparison) compare(ctx context.Context, job *deploy.Job, st *TargetStatus) (err error) {
	chain := c.engine.cfg.Store.Chain(st.Target.Namespace)
	if st.State, err = chain.State(ctx); err != nil || st.Ref.IsZero() {
		return err
	}
	if c.repo == nil && !plainlyEqual(job, st.State.Head) {
		if c.repo, err = git.OpenRepository(ctx, c.gitDir, nil); err != nil {
			return fmt.Errorf("read repository: %w", err)
		}
	}
	job.Repo = c.repo
	st.Relation, st.Ahead, err = job.Relation(ctx, st.State.Head)
	return err
}

// plainlyEqual tells whether the repository need not be looked at.
func plainlyEqual(job *deploy.Job, head *record.Deploy) bool {
	return head == nil || job.Is(head)
}

// waiting gives what dead pushes promised to publish. A file that is no intent waits for nothing.
func (e *Engine) waiting(gitDir string) ([]intent.Entry, error) {
	pushes, err := intent.List(gitDir)
	if err != nil {
		return nil, err
	}
	var all []intent.Entry
	for _, push := range pushes {
		if e.isRunning(push) {
			continue
		}
		in, err := intent.Read(gitDir, push)
		var bad *intent.Bad
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.As(err, &bad):
		case err != nil:
			return nil, err
		default:
			all = append(all, in.Deploys...)
		}
	}
	return all, nil
}
