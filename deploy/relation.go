package deploy

import (
	"context"
	"errors"
	"fmt"

	"refship/deploy/git"
	"refship/deploy/record"
)

// Relation is how a job's commit or directory relates to its chain's head.
type Relation string

// The relations.
const (
	RelationEmpty Relation = "empty" // the chain has no deploy
	// RelationEqual: a deploy would change nothing, see Verdict's Already and Same; or mgmt itself has deployed the
	// commit, and only Prepare tells whether with the same files.
	RelationEqual Relation = "equal"
	// RelationAhead: the commit contains what the head deployed, or is the same with another path or settings; or a
	// directory differs from the head's.
	RelationAhead    Relation = "ahead"
	RelationBehind   Relation = "behind"   // the head deployed a commit that contains this one
	RelationDiverged Relation = "diverged" // neither contains the other, only one is a commit, or their formats differ
	RelationUnknown  Relation = "unknown"  // the repository does not have the commit that the head deployed
)

// Relation compares the job with a chain's head, whatever holds the chain. ahead is the number of commits from the
// head's (excluded) to the job's (at most 10,001), 0 unless the relation is RelationAhead of a commit.
func (j *Job) Relation(ctx context.Context, head *record.Deploy) (r Relation, ahead int, err error) {
	switch {
	case head == nil:
		return RelationEmpty, 0, nil
	case j.Is(head), j.mgmtHas(head):
		return RelationEqual, 0, nil
	case head.Hash != "" && j.otherFormat(head):
		return RelationDiverged, 0, nil
	case j.Dir != nil && head.Hash.IsTree():
		return RelationAhead, 0, nil
	case head.Hash == "" || head.Hash.IsTree() || j.Dir != nil:
		return RelationDiverged, 0, nil
	}
	r, between, err := j.compare(ctx, head.Hash)
	if err != nil || r != RelationAhead {
		return r, 0, err
	}
	same, err := j.changesNothing(head)
	switch {
	case err != nil:
		return "", 0, err
	case same:
		return RelationEqual, 0, nil
	}
	if ahead = len(between.Commits); between.More {
		ahead++
	}
	return r, ahead, nil
}

// Undone gives those of the undone deploys that the job would bring back, the newest last. newest is the newest record
// at or below the head.
func (c *Chain) Undone(ctx context.Context, job *Job, head *record.Deploy, newest *record.Record) (
	back []record.Undone, err error) {
	for _, u := range newest.Undone {
		is, err := c.bringsBack(ctx, job, head, u)
		if err != nil {
			return nil, err
		}
		if is {
			back = append(back, u)
		}
	}
	return back, nil
}

// compare relates the job's commit to another by their history: ahead with the commits in between, behind, diverged or
// unknown.
func (j *Job) compare(ctx context.Context, with record.Hash) (Relation, git.Range, error) {
	other := with.OID()
	between, err := j.Repo.Between(ctx, other, j.Commit, maxCommits)
	switch {
	case errors.Is(err, git.ErrUnknownCommit):
		return RelationUnknown, git.Range{}, nil
	case err != nil:
		return "", git.Range{}, fmt.Errorf("compare %s with %s: %w", with.Short(), j.Hash().Short(), err)
	case between.Related:
		return RelationAhead, between, nil
	}
	back, err := j.Repo.Between(ctx, j.Commit, other, 0)
	switch {
	case err != nil:
		return "", git.Range{}, fmt.Errorf("compare %s with %s: %w", j.Hash().Short(), with.Short(), err)
	case back.Related:
		return RelationBehind, git.Range{}, nil
	}
	return RelationDiverged, git.Range{}, nil
}

// changesNothing tells whether nothing below the job's path differs from the head.
func (j *Job) changesNothing(head *record.Deploy) (bool, error) {
	if j.Path == "" {
		return false, nil
	}
	commit, err := j.Repo.Commit(j.Commit)
	if err != nil {
		return false, fmt.Errorf("read commit: %w", err)
	}
	root, _, err := j.Repo.TreeAt(commit, j.Path)
	var none *git.NoPathError
	switch {
	case errors.As(err, &none): // a deploy will refuse it
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read commit: %w", err)
	}
	return j.sameBelow(head, root), nil
}
