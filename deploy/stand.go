package deploy

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/git"
	"refship/deploy/record"
)

// Standing is how a ref stands to its chain's head.
type Standing string

// The standings.
const (
	StandingEmpty    Standing = "empty"    // the chain has no deploy
	StandingEqual    Standing = "equal"    // a deploy would change nothing: see Verdict's Already and Same
	StandingAhead    Standing = "ahead"    // the commit contains what the head deployed, or is the same with another path or settings; a directory that differs from the head's
	StandingBehind   Standing = "behind"   // the head deployed a commit that contains this one
	StandingDiverged Standing = "diverged" // neither contains the other, or one is a commit and the other is none
	StandingUnknown  Standing = "unknown"  // the repository does not have the commit that the head deployed
)

// Stand compares a job's commit or directory with a chain's head, whatever holds the chain; ahead is the number of
// commits from the head (excluded) to the job's (at most 10,001), 0 unless the standing is StandingAhead of a commit.
func (c *Chain) Stand(ctx context.Context, job *Job, head *record.Deploy) (s Standing, ahead int, err error) {
	switch {
	case head == nil:
		return StandingEmpty, 0, nil
	case job.Is(head):
		return StandingEqual, 0, nil
	case job.Dir != nil && head.Hash.IsTree():
		return StandingAhead, 0, nil
	case head.Hash == "" || head.Hash.IsTree() || job.Dir != nil:
		return StandingDiverged, 0, nil
	}
	at := head.Hash.OID()
	between, err := job.Repo.Between(ctx, at, job.Commit, maxCommits)
	switch {
	case errors.Is(err, git.ErrUnknownCommit):
		return StandingUnknown, 0, nil
	case err != nil:
		return "", 0, fmt.Errorf("compare %s with %s: %w", head.Hash.Short(), job.Hash().Short(), err)
	case between.Related:
		return c.standAhead(job, head, between)
	}
	if between, err = job.Repo.Between(ctx, job.Commit, at, 0); err != nil {
		return "", 0, fmt.Errorf("compare %s with %s: %w", job.Hash().Short(), head.Hash.Short(), err)
	}
	if between.Related {
		return StandingBehind, 0, nil
	}
	return StandingDiverged, 0, nil
}

// standAhead tells whether there is anything to deploy of a commit that contains the head's.
func (c *Chain) standAhead(job *Job, head *record.Deploy, between git.Range) (Standing, int, error) {
	ahead := len(between.Commits)
	if between.More {
		ahead++
	}
	if job.Path == "" {
		return StandingAhead, ahead, nil
	}
	commit, err := job.Repo.Commit(job.Commit)
	if err != nil {
		return "", 0, fmt.Errorf("read commit: %w", err)
	}
	root, _, err := job.Repo.TreeAt(commit, job.Path)
	var none *git.NoPathError
	switch {
	case errors.As(err, &none): // a deploy will refuse it
		return StandingAhead, ahead, nil
	case err != nil:
		return "", 0, fmt.Errorf("read commit: %w", err)
	case job.sameBelow(head, root):
		return StandingEqual, 0, nil
	}
	return StandingAhead, ahead, nil
}
