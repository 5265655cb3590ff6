package status

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	Undone   *record.Deploy  // the newest one that took back what the ref still has; nil: none did
	Empty    bool            // the ref's file is empty, and git reads it as no ref; Err says so
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
	Memory    int64                                           // what each git may take, in bytes; 0: any
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
	loose, err := git.ReadLoose(gitDir)
	if err != nil {
		return nil, err
	}
	c := &comparison{store: r.Store, gitDir: gitDir, memory: r.Memory}
	defer c.close()
	all := make([]Status, len(targets))
	for i, t := range targets {
		st := Status{Target: t, Ref: now[t.Ref], command: r.Redeploy(name, t), override: r.Override(t)}
		for _, entry := range left {
			st.Pending = st.Pending || entry.Target.Same(t) && entry.New == st.Ref
		}
		st.Err = c.compare(ctx, &st)
		if st.Empty = slices.Contains(loose.Empty, t.Ref); st.Empty {
			st.Err = errors.Join(git.EmptyRefError(gitDir, t.Ref), st.Err)
		}
		all[i] = st
	}
	return all, nil
}

// EmptyRefs has an error for each ref of a repository whose file is empty, but for those that were told: such a ref
// keeps pushes to all refs out.
func EmptyRefs(gitDir string, told func(ref string) bool) (errs []error, err error) {
	loose, err := git.ReadLoose(gitDir)
	if err != nil {
		return nil, err
	}
	for _, ref := range loose.Empty {
		if !told(ref) {
			errs = append(errs, git.EmptyRefError(gitDir, ref))
		}
	}
	return errs, nil
}

// comparison compares refs with chains. It opens the repository only if a chain's head is not the very commit of its
// ref.
type comparison struct {
	store  *deploy.Store
	memory int64
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
	chain := c.store.Chain(t.Namespace)
	if st.State, err = chain.State(ctx); err != nil || st.Ref.IsZero() {
		return err
	}
	job := &deploy.Job{Kind: record.KindPush, Commit: st.Ref, Path: t.Path, Frontend: t.Frontend, Settings: t.Settings}
	head := st.State.Head
	if head != nil && head.Damage != nil {
		return head.Damage
	}
	if head != nil { // as for a push, trust comes before everything else
		signers, err := c.store.Signers()
		if err == nil {
			signers, err = record.NewTrust(signers, chain.Down).Signers(ctx, head)
		}
		if err != nil {
			return err
		}
		if err := chain.JudgeHead(job, head, signers); err != nil {
			return err
		}
	}
	if c.repo == nil && head != nil && !job.Is(head) {
		if c.repo, err = git.OpenRepository(ctx, c.gitDir, nil); err != nil {
			return fmt.Errorf("read repository: %w", err)
		}
		if err := c.repo.LimitMemory(c.memory); err != nil {
			return err
		}
	}
	if job.Repo = c.repo; job.Repo != nil {
		if err := job.Peel(ctx); err != nil {
			return err
		}
	}
	st.Relation, st.Ahead, err = job.Relation(ctx, head)
	if err == nil && (st.Relation == deploy.RelationAhead || st.Relation == deploy.RelationDiverged) {
		err = c.readUndone(ctx, st, job)
	}
	return err
}

// readUndone finds out who took back what the ref has.
func (c *comparison) readUndone(ctx context.Context, st *Status, job *deploy.Job) error {
	chain := c.store.Chain(st.Target.Namespace)
	newest, _, err := chain.NewestRecord(ctx, st.State.Head)
	if err != nil || newest == nil {
		return err
	}
	back, err := chain.Undone(ctx, job, st.State.Head, newest.Record)
	if err != nil || len(back) == 0 {
		return err
	}
	st.Undone = chain.UndoneBy(ctx, back[len(back)-1])
	return nil
}

// leftIntents gives what pushes that were broken off promised to publish. A file that is no intent promises nothing.
func (r *Reader) leftIntents(gitDir string) ([]intent.Entry, error) {
	var all []intent.Entry
	for in, err := range intent.All(gitDir) {
		var bad *intent.Bad
		switch {
		case errors.As(err, &bad):
		case err != nil:
			return nil, err
		case !r.IsRunning(in.Push):
			all = append(all, in.Deploys...)
		}
	}
	return all, nil
}
