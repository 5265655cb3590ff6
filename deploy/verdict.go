package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxCommits is how many commits of one deploy are stored. Beyond it only the deployed one is: its ancestry is then
// proved by the repository and not by etcd.
const maxCommits = 10_000

// MaxReason bounds a reason, in bytes: a record is one value in etcd and a few lines for people.
const MaxReason = 10_000

// Verdict is what the previous-hash table says of a job, and what was read to find out.
type Verdict struct {
	Head    *record.Deploy // nil: no deploy yet
	Already bool           // the head is this very deploy: there is nothing to do
	Same    bool           // the job has a path, and nothing below it differs from the head: there is nothing to do
	Forced  *ConflictError // what Force overrode; nil if nothing had to be
	Undoes  *record.Deploy // the head, if it is a rollback whose undone commit or directory comes back with this job
	// Commits are those from the head's (excluded) to the job's, newest first; of a forced deploy only the job's, of a
	// directory none.
	Commits []tree.OID
	More    bool // there are more commits than are stored

	subject string // of the commit, or a directory's name
	author  string
	tree    tree.OID   // at the job's path
	above   []tree.OID // the trees from the commit's down to tree, without it
}

// Idle tells whether there is nothing to deploy.
func (v *Verdict) Idle() bool { return v.Already || v.Same }

// previous is the head's deploy hash, "" if there is none.
func (v *Verdict) previous() record.Hash {
	if v.Head == nil {
		return ""
	}
	return v.Head.Hash
}

// Check reads the chain's head and says whether the job may replace it: a *ConflictError or a fault.Refused if not.
// It writes nothing and takes no lock, so the answer may be outdated; Prepare asks again.
//
// No deploy yet: the first deploy. The same commit or directory, path, frontend and settings: nothing to do. An
// ancestor of the commit: the next deploy, or nothing to do if the job has a path below which nothing differs. A
// directory after a directory: the next deploy. Anything else: refused, unless the job says Force.
func (c *Chain) Check(ctx context.Context, job *Job) (*Verdict, error) {
	if err := job.validate(); err != nil {
		return nil, err
	}
	if err := checkReason(job); err != nil {
		return nil, err
	}
	state, err := c.State(ctx)
	if err == nil {
		err = c.checkHold(state.Hold)
	}
	if err != nil {
		return nil, err
	}
	v := &Verdict{Head: state.Head}
	if err := v.readSource(job); err != nil {
		return nil, err
	}
	if v.Head == nil {
		v.Commits = job.commits()
		return v, nil
	}
	if err := c.checkFrontend(job, v.Head); err != nil {
		return nil, err
	}
	if v.Already = job.Is(v.Head); v.Already {
		return v, nil
	}
	err = c.checkPrevious(ctx, job, v)
	var conflict *ConflictError
	switch {
	case job.Force && errors.As(err, &conflict):
		v.Forced, v.Commits = conflict, job.commits()
	case err != nil:
		return nil, err
	case job.sameBelow(v.Head, v.tree):
		v.Same, v.Undoes = true, nil // nothing comes back
	}
	return v, nil
}

func checkReason(job *Job) error {
	refuse := func(what, remedy string) error { return fault.New(fault.Refused, what, remedy) }
	switch {
	case len(job.Reason) > MaxReason:
		return refuse(fmt.Sprintf("reason is %d bytes (limit %d)", len(job.Reason), MaxReason), "say it shorter")
	case !utf8.ValidString(job.Reason):
		return refuse("the reason is not UTF-8, and a record is", "write it in UTF-8")
	case job.Force && strings.TrimSpace(job.Reason) == "":
		return refuse("a forced deploy needs a reason, which its record keeps", "say why")
	}
	return nil
}

// checkFrontend refuses what would make one chain both refship's own and mgmt's: mgmt takes the highest payload for
// the newest deploy.
func (c *Chain) checkFrontend(job *Job, head *record.Deploy) error {
	whose := func(mgmt bool) string {
		if mgmt {
			return "mgmt's"
		}
		return "of the frontend " + string(record.Files)
	}
	is := head.Record == nil || head.Record.Frontend.IsMgmt()
	if is == job.Frontend.IsMgmt() {
		return nil
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("the deploys in %s are %s, and this one is %s", c.ns, whose(is), whose(!is)),
		Reason: ReasonNamespaceMixed, About: []string{job.Repository, job.Target},
	}
}

// readSource reads the commit or directory, and finds the tree at the job's path.
func (v *Verdict) readSource(job *Job) error {
	if job.Dir != nil {
		// No more than the last element of the directory's path: the others tell of the machine that it is on.
		v.tree, v.subject = job.Dir.Root(), record.Shorten("directory "+job.Dir.Name)
		return nil
	}
	commit, err := job.Repo.Commit(job.Commit)
	if errors.Is(err, git.ErrNotFound) {
		return fault.New(fault.Refused,
			fmt.Sprintf("%s of %s is no commit, and only a commit is deployed", job.Hash().Short(), text.Printable(job.Ref)),
			"of an annotated tag, push the commit that it names: git push REMOTE TAG^{commit}:"+text.Printable(job.Ref))
	}
	if err != nil {
		return fmt.Errorf("read commit: %w", err)
	}
	v.subject = record.SubjectOf(commit.Message)
	v.author = record.Shorten(commit.Author)
	v.tree, v.above, err = job.Repo.TreeAt(commit, job.Path)
	var none *git.NoPathError
	if !errors.As(err, &none) {
		return err
	}
	wanted := "is to be deployed"
	if job.Target != "" {
		wanted = "the target " + job.Target + " of " + job.Repository + " deploys"
	}
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("commit %s has no directory %q, which %s: %s",
			job.Hash().Short(), job.Path, wanted, none.Found),
		Reason: ReasonPathMissing, About: []string{job.Repository, job.Target},
	}
}

// checkPrevious compares the job's hash with the head's.
func (c *Chain) checkPrevious(ctx context.Context, job *Job, v *Verdict) error {
	head, short := v.Head, job.Hash().Short()
	switch {
	case head.Hash == "":
		return c.conflict(job, head, "that deploy has no hash, so nothing can be checked against it", "", ReasonHeadUnhashed)
	case job.Dir != nil && !head.Hash.IsTree():
		what := "commit " + head.Hash.Short()
		if head.Record != nil && head.Record.Path != "" {
			what = fmt.Sprintf("directory %q of %s", head.Record.Path, what)
		}
		why := "that is " + what + ", and your " + short + " is a plain directory, which has no history to compare"
		return c.conflict(job, head, why, "", ReasonHeadCommit)
	case job.Dir == nil && head.Hash.IsTree():
		return c.conflict(job, head, "that is a plain directory, and your "+short+" is a commit", "", ReasonHeadDirectory)
	}
	undoes, err := job.undoes(ctx, head)
	if err != nil {
		return err
	}
	if undoes {
		v.Undoes = head
	}
	if job.Dir != nil {
		return nil // it has no history, and so replaces any other directory
	}
	return c.checkHistory(ctx, job, v)
}

// undoes tells whether the head is a rollback, and what it undid comes back with the job.
func (j *Job) undoes(ctx context.Context, head *record.Deploy) (bool, error) {
	r := head.Record
	switch {
	case r == nil || r.Kind != record.KindRollback || r.PreviousHash == "":
		return false, nil
	case j.Dir != nil || r.PreviousHash.IsTree():
		return r.PreviousHash == j.Hash(), nil
	}
	between, err := j.Repo.Between(ctx, r.PreviousHash.OID(), j.Commit, 0)
	if err != nil && !errors.Is(err, git.ErrUnknownCommit) {
		return false, fmt.Errorf("compare %s with %s: %w", r.PreviousHash.Short(), j.Commit, err)
	}
	return between.Related, nil
}

// checkHistory compares the job's commit with the head's.
func (c *Chain) checkHistory(ctx context.Context, job *Job, v *Verdict) error {
	relation, between, err := job.compare(ctx, v.Head.Hash)
	switch {
	case err != nil:
		return err
	case relation == RelationAhead:
		v.Commits, v.More = between.Commits, between.More
		return nil
	case v.Undoes != nil: // back to where the chain was, from another line of history
		v.Commits = job.commits()
		return nil
	case relation == RelationBehind:
		return c.conflict(job, v.Head, "your "+job.Hash().Short()+" does not contain it: it is older", "", ReasonCommitOlder)
	}
	why, remedy, reason := catchUp(job, v.Head, relation == RelationUnknown)
	return c.conflict(job, v.Head, why, remedy, reason)
}
