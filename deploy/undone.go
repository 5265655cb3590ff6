package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// maxUndone is how many undone deploys a record keeps in mind; the oldest are forgotten first.
const maxUndone = 1000

// maxGoneOver is how many deploys a rollback takes back, from the head down: for each git is asked.
const maxGoneOver = 50

// judgeUndone works out what stays undone with the job. It refuses a job that brings something back, unless the job
// says that this was seen: a rollback by naming its deploy by the number, which another head does not change.
func (c *Chain) judgeUndone(ctx context.Context, job *Job, v *Verdict) error {
	v.undone = []record.Undone{}
	if v.newest != nil {
		for _, u := range v.newest.Record.Undone {
			back, err := c.brings(ctx, job, v, u)
			if err != nil {
				return err
			}
			if back {
				v.Back = append(v.Back, u)
			} else {
				v.undone = append(v.undone, u)
			}
		}
	}
	switch {
	case len(v.Back) == 0, job.To != nil && job.ByNumber:
	case job.To != nil:
		return c.undoneConflict(ctx, job, v)
	case job.Force, slices.Contains(job.Again, v.Head.ID):
		v.Again = v.Head.ID
	default:
		return c.undoneConflict(ctx, job, v)
	}
	if v.Forced == nil && job.To == nil {
		return nil
	}
	return c.addUndone(ctx, job, v)
}

// brings is bringsBack. Of a commit that goes on from the head it is known what is new.
func (c *Chain) brings(ctx context.Context, job *Job, v *Verdict, u record.Undone) (bool, error) {
	if v.Forced != nil || v.More || job.Repo == nil || job.To != nil {
		return c.bringsBack(ctx, job, v.Head, u)
	}
	switch {
	case !u.Hash.IsTree() && slices.Contains(v.Commits, u.Hash.OID()):
		return true, nil
	case job.sameSettings(v.Head): // what is not new is as the head has it
		return false, nil
	}
	return c.bringsBack(ctx, job, v.Head, u)
}

// bringsBack tells whether what was undone comes back with the job: the job contains it, and the head does not. Where
// the head does, a path or settings of it were undone, and they come back with a job that has them.
func (c *Chain) bringsBack(ctx context.Context, job *Job, head *record.Deploy, u record.Undone) (bool, error) {
	contains, err := c.goesOn(ctx, job, u.Hash)
	if err != nil || !contains {
		return false, err
	}
	known, err := c.contains(ctx, job.Repo, head, u.Hash)
	if err != nil || !known {
		return err == nil, err
	}
	d, err := c.Get(ctx, u.ID)
	switch {
	case fault.Is(err, fault.Corrupt), record.IsNewer(err):
		return true, nil // nothing says how it was deployed
	case err != nil:
		return false, fmt.Errorf("read what was undone: %w", err)
	}
	return job.sameSettings(d), nil
}

// addUndone adds the head to what is undone, and the deploys that a rollback goes back over, unless the job goes on
// from them.
func (c *Chain) addUndone(ctx context.Context, job *Job, v *Verdict) error {
	over := []*record.Deploy{v.Head}
	if job.To != nil && job.Repo != nil {
		enough := errors.New("enough")
		err := c.Down(ctx, v.Head.ID-1, func(d *record.Deploy) error {
			if d.ID <= job.To.ID || len(over) == maxGoneOver {
				return enough
			}
			over = append(over, d)
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			return err
		}
	}
	for _, d := range slices.Backward(over) {
		if err := c.addOne(ctx, job, v, d); err != nil {
			return err
		}
	}
	v.undone = v.undone[max(0, len(v.undone)-maxUndone):]
	return nil
}

func (c *Chain) addOne(ctx context.Context, job *Job, v *Verdict, d *record.Deploy) error {
	if _, err := record.ParseHash(string(d.Hash)); err != nil {
		return nil //nolint:nilerr // a deploy without a hash cannot come back by one
	}
	same := d.Hash == job.Hash()
	if same && (d.Record == nil || job.sameSettings(d)) {
		return nil
	}
	isHead := d.ID == v.Head.ID
	if known := slices.ContainsFunc(v.undone, func(u record.Undone) bool { return u.Hash == d.Hash }); known && !isHead {
		return nil
	}
	if goesOn, err := c.goesOn(ctx, job, d.Hash); err != nil || goesOn && !same {
		return err
	}
	v.undone = slices.DeleteFunc(v.undone, func(u record.Undone) bool { return u.Hash == d.Hash })
	v.undone = append(v.undone, record.Undone{ID: d.ID, Hash: d.Hash})
	return nil
}

// contains tells whether the job's commit is another one or descends from it. A directory contains itself alone. What
// the repository lacks is not contained.
func (j *Job) contains(ctx context.Context, other record.Hash) (bool, error) {
	own := j.Hash()
	switch {
	case own == other:
		return true, nil
	case own.IsTree() || other.IsTree() || j.Repo == nil:
		return false, nil
	}
	between, err := j.Repo.Between(ctx, other.OID(), own.OID(), 0)
	if err != nil && !errors.Is(err, git.ErrUnknownCommit) {
		return false, fmt.Errorf("compare %s with %s: %w", other.Short(), own.Short(), err)
	}
	return between.Related, nil
}

// goesOn tells whether what the job publishes is another commit or descends from it.
func (c *Chain) goesOn(ctx context.Context, job *Job, from record.Hash) (bool, error) {
	if job.To == nil {
		return job.contains(ctx, from)
	}
	return c.contains(ctx, job.Repo, job.To, from)
}

// contains tells whether a deploy's commit is another one or descends from it. Where the repository lacks one of them,
// or there is none (nil), the records tell.
func (c *Chain) contains(ctx context.Context, repo *git.Repository, d *record.Deploy, other record.Hash) (bool, error) {
	switch {
	case d.Hash == other:
		return true, nil
	case d.Hash == "" || d.Hash.IsTree() || other.IsTree():
		return false, nil
	case repo != nil && has(repo, d.Hash) && has(repo, other):
		between, err := repo.Between(ctx, other.OID(), d.Hash.OID(), 0)
		if err != nil {
			return false, fmt.Errorf("compare %s with %s: %w", other.Short(), d.Hash.Short(), err)
		}
		return between.Related, nil
	}
	found, stop := false, errors.New("found out")
	err := c.Down(ctx, d.ID, func(d *record.Deploy) error {
		// Deploys that were neither forced nor rolled back descend from the one below.
		r := d.Record
		if r == nil || r.Forced || r.Kind == record.KindRollback || r.Hash.IsTree() {
			return stop
		}
		if found = r.PreviousHash == other; found {
			return stop
		}
		return nil
	})
	if errors.Is(err, stop) {
		err = nil
	}
	return found, err
}

// has tells whether a repository has a commit.
func has(repo *git.Repository, hash record.Hash) bool {
	_, err := repo.Commit(hash.OID())
	return err == nil
}

// undoneConflict says what the job would bring back, and who undid it, when and why.
func (c *Chain) undoneConflict(ctx context.Context, job *Job, v *Verdict) error {
	newest := v.Back[len(v.Back)-1]
	what := "your " + job.Hash().Short()
	if job.To != nil {
		what = fmt.Sprintf("deploy %d, %s,", job.To.ID, job.Hash().Short())
	}
	why := fmt.Sprintf("%s contains %s of deploy %d", what, newest.Hash.Short(), newest.ID)
	if job.Hash() == newest.Hash {
		why = fmt.Sprintf("%s is that of deploy %d", what, newest.ID)
	}
	why += ", which "
	if job.To != nil && job.To.ID == newest.ID {
		why = what + " is what "
	}
	why += c.undoneBy(ctx, newest)
	if more := len(v.Back) - 1; more > 0 {
		why += fmt.Sprintf("; and what %s undone",
			text.Plural(more, "other deploy had, which was", "other deploys had, which were"))
	}
	if len(job.Again) > 0 {
		seen := make([]string, len(job.Again))
		for i, id := range job.Again {
			seen[i] = id.String()
		}
		why += fmt.Sprintf("; you have seen deploy %s, and the head is %d", text.FirstFew(seen), v.Head.ID)
	}
	about := []string{string(job.Kind), v.Head.ID.String()}
	if job.To != nil {
		about = append(about, job.To.ID.String())
	}
	return &ConflictError{Namespace: c.ns, Head: v.Head, Why: why, Reason: ReasonUndone, About: about}
}

// UndoneBy gives the deploy that undid another: the first one above whose record says so. Nil: it cannot be read.
func (c *Chain) UndoneBy(ctx context.Context, u record.Undone) *record.Deploy {
	for id := u.ID + 1; id <= u.ID+maxGoneOver; id++ {
		d, err := c.Get(ctx, id)
		if err != nil {
			return nil
		}
		if d.Record != nil && slices.Contains(d.Record.Undone, u) {
			return d
		}
	}
	return nil
}

// undoneBy says who undid a deploy, when and why.
func (c *Chain) undoneBy(ctx context.Context, u record.Undone) string {
	d := c.UndoneBy(ctx, u)
	if d == nil {
		return "a later deploy undid"
	}
	return fmt.Sprintf("%s undid with deploy %d, %s: %s", d.By(), d.ID, text.Age(time.Since(d.Record.Time)),
		text.Printable(record.Shorten(d.Record.Reason)))
}

// ReasonUndone: the job brings back what was undone. About: kind, head's id, and of a rollback the id of its deploy.
const ReasonUndone fault.Reason = "head-undone"
