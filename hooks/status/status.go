package status

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

// Status is how one target's ref relates to its chain.
type Status struct {
	Target   target.Target
	Ref      git.OID         // zero: the ref does not exist
	State    *record.State   // nil: it could not be read, Err says why
	Relation deploy.Relation // "" without Ref or with Err
	Ahead    int             // commits; only with deploy.RelationAhead
	Pending  bool            // an intent of a push that was broken off waits for the ref's commit
	Err      error           // why the rest is not known
	command  string          // that deploys what the ref has
	override string          // what to do so that the ref's commit replaces the head
}

// Reader reads the status of repositories.
type Reader struct {
	Store     *deploy.Store
	Redeploy  func(repository string, t target.Target) string // the command that deploys what a target's ref has
	Override  func(t target.Target) string                    // what to do so that its commit replaces the head
	IsRunning func(push string) bool                          // whether a push runs, and so settles its own intent
}

// Read compares every target's ref with its chain. The error is about the repository itself; what is wrong with one
// target is in its Err.
func (r *Reader) Read(ctx context.Context, name, gitDir string) ([]Status, error) {
	targets, err := target.ReadTargets(gitDir)
	if err != nil || len(targets) == 0 {
		return nil, err
	}
	left, err := r.leftIntents(gitDir)
	if err != nil {
		return nil, err
	}
	now, err := git.ReadRefs(ctx, gitDir, target.Refs(targets))
	if err != nil {
		return nil, err
	}
	c := &comparison{store: r.Store, gitDir: gitDir}
	defer c.close()
	all := make([]Status, len(targets))
	for i, t := range targets {
		st := Status{Target: t, Ref: now[t.Ref], command: r.Redeploy(name, t), override: r.Override(t)}
		for _, entry := range left {
			st.Pending = st.Pending || entry.Target == t && entry.New == st.Ref
		}
		st.Err = c.compare(ctx, &st)
		all[i] = st
	}
	return all, nil
}

// comparison compares refs with chains. It opens the repository only if a chain's head is not the very commit of its
// ref.
type comparison struct {
	store  *deploy.Store
	gitDir string
	repo   *git.Repository
}

func (c *comparison) close() {
	if c.repo != nil {
		_ = c.repo.Close() // it was read
	}
}

func (c *comparison) compare(ctx context.Context, st *Status) (err error) {
	t := st.Target
	if st.State, err = c.store.Chain(t.Namespace).State(ctx); err != nil || st.Ref.IsZero() {
		return err
	}
	job := &deploy.Job{Kind: record.KindPush, Commit: st.Ref, Path: t.Path, Frontend: t.Frontend, Settings: t.Settings}
	head := st.State.Head
	if c.repo == nil && head != nil && !job.Is(head) {
		if c.repo, err = git.OpenRepository(ctx, c.gitDir, nil); err != nil {
			return fmt.Errorf("read repository: %w", err)
		}
	}
	job.Repo = c.repo
	st.Relation, st.Ahead, err = job.Relation(ctx, head)
	return err
}

// leftIntents gives what pushes that were broken off promised to publish. A file that is no intent promises nothing.
func (r *Reader) leftIntents(gitDir string) ([]intent.Entry, error) {
	pushes, err := intent.List(gitDir)
	if err != nil {
		return nil, err
	}
	var all []intent.Entry
	for _, push := range pushes {
		if r.IsRunning(push) {
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
