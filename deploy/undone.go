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
// says that this was seen.
func (c *Chain) judgeUndone(ctx context.Context, job *Job, v *Verdict) error {
	v.undone = []record.Undone{}
	if v.newest != nil {
		brings := job.bringsBack
		if job.To != nil {
			brings = func(ctx context.Context, u record.Undone) (bool, error) { return c.goesOn(ctx, job, u.Hash) }
		}
		if v.Forced == nil && !v.More && job.Repo != nil && job.To == nil {
			brings = v.brings
		}
		for _, u := range v.newest.Record.Undone {
			back, err := brings(ctx, u)
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
	case len(v.Back) == 0 || job.To != nil:
	case job.Force, job.Again == v.Head.ID:
		v.Again = v.Head.ID
	default:
		return c.undoneConflict(ctx, job, v)
	}
	if v.Forced == nil && job.To == nil {
		return nil
	}
	return c.addUndone(ctx, job, v)
}

// brings is bringsBack of a job that goes on from the head: what comes back is among the commits that are new to it.
func (v *Verdict) brings(_ context.Context, u record.Undone) (bool, error) {
	return !u.Hash.IsTree() && slices.Contains(v.Commits, u.Hash.OID()), nil
}

// addUndone adds the head to what is undone, and the deploys that a rollback goes back over, unless the job goes on from
// them.
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
	if _, err := record.ParseHash(string(d.Hash)); err != nil || d.Hash == job.Hash() {
		return nil //nolint:nilerr // a deploy without a hash cannot come back by one
	}
	isHead := d.ID == v.Head.ID
	if known := slices.ContainsFunc(v.undone, func(u record.Undone) bool { return u.Hash == d.Hash }); known && !isHead {
		return nil
	}
	goesOn, err := c.goesOn(ctx, job, d.Hash)
	if err != nil || goesOn {
		return err
	}
	v.undone = slices.DeleteFunc(v.undone, func(u record.Undone) bool { return u.Hash == d.Hash })
	v.undone = append(v.undone, record.Undone{ID: d.ID, Hash: d.Hash})
	return nil
}

// bringsBack tells whether what was undone comes back with the job.
func (j *Job) bringsBack(ctx context.Context, u record.Undone) (bool, error) {
	return j.contains(ctx, u.Hash)
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
	if err != nil && !errors.Is(err, git.ErrUnknownCommit) && !(j.To != nil && errors.Is(err, git.ErrNotFound)) {
		return false, fmt.Errorf("compare %s with %s: %w", other.Short(), own.Short(), err)
	}
	return between.Related, nil
}

// has tells whether the repository has a commit.
func (j *Job) has(hash record.Hash) bool {
	_, err := j.Repo.Commit(hash.OID())
	return err == nil
}

// goesOn is contains, for a rollback whose repository lacks a commit, or that has none, too: then the records tell.
func (c *Chain) goesOn(ctx context.Context, job *Job, from record.Hash) (bool, error) {
	if from == job.Hash() {
		return true, nil
	}
	if job.To == nil || job.Repo != nil && !from.IsTree() && job.has(from) && job.has(job.To.Hash) {
		return job.contains(ctx, from)
	}
	goesOn, stop := false, errors.New("found out")
	err := c.Down(ctx, job.To.ID, func(d *record.Deploy) error {
		// Deploys that were neither forced nor rolled back descend from the one below.
		r := d.Record
		if r == nil || r.Forced || r.Kind == record.KindRollback || r.Hash.IsTree() {
			return stop
		}
		if goesOn = r.PreviousHash == from; goesOn {
			return stop
		}
		return nil
	})
	if errors.Is(err, stop) {
		err = nil
	}
	return goesOn, err
}

// undoneConflict says what the job would bring back, and who undid it, when and why.
func (c *Chain) undoneConflict(ctx context.Context, job *Job, v *Verdict) error {
	newest := v.Back[len(v.Back)-1]
	why := fmt.Sprintf("your %s contains %s of deploy %d", job.Hash().Short(), newest.Hash.Short(), newest.ID)
	if job.Hash() == newest.Hash {
		why = fmt.Sprintf("your %s is that of deploy %d", job.Hash().Short(), newest.ID)
	}
	why += ", which " + c.undoneBy(ctx, newest)
	if more := len(v.Back) - 1; more > 0 {
		why += fmt.Sprintf("; and what %s undone",
			text.Plural(more, "other deploy had, which was", "other deploys had, which were"))
	}
	if job.Again != 0 {
		why += fmt.Sprintf("; you have seen deploy %d, and the head is %d", job.Again, v.Head.ID)
	}
	return c.conflict(job, v.Head, why, "", ReasonUndone)
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

// ReasonUndone: the job brings back what was undone. About kind, head's id.
const ReasonUndone fault.Reason = "head-undone"
