package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// Source is where a deploy's directories and contents come from: a *git.Repository or a *tree.Directory.
type Source interface {
	Tree(oid tree.OID) ([]tree.Entry, error)
	Blobs(ctx context.Context, oids []tree.OID, fn func(i int, size int64, content io.Reader) error) error
}

// Source is the job's Dir or Repo.
func (j *Job) Source() Source {
	if j.Dir != nil {
		return j.Dir
	}
	return j.Repo
}

// check refuses a job that says two things.
func (j *Job) check() error {
	switch {
	case j.Dir == nil && j.Repo == nil:
		return errors.New("job has neither a commit nor a directory")
	case j.Dir != nil && (j.Repo != nil || !j.Commit.IsZero() || j.Path != ""):
		return errors.New("job has a directory, and a repository, a commit or a path besides")
	}
	return nil
}

// commits are those that the job has when it follows none: its own.
func (j *Job) commits() []tree.OID {
	if j.Dir != nil {
		return nil
	}
	return []tree.OID{j.Commit}
}

// readDirectory takes in a plain directory. Its record has no more than the last element of its path: the others tell
// of the machine that it lay on.
func (v *Verdict) readDirectory(d *tree.Directory) {
	v.tree = d.Root()
	v.subject = record.Shorten("directory " + d.Name)
}

// checkDirectory holds the job's directory against the head's deploy hash: it has no history, and so replaces any other
// directory.
func (c *Chain) checkDirectory(job *Job, v *Verdict) error {
	if !v.Head.Hash.IsTree() {
		what := "commit " + v.Head.Hash.Short()
		if v.Head.Record != nil && v.Head.Record.Path != "" {
			what = fmt.Sprintf("directory %q of %s", v.Head.Record.Path, what)
		}
		return c.conflict(job, v, fmt.Sprintf("that is %s, and your %s is a plain directory, which has no history to compare", what, job.Hash().Short()),
			"a chain of commits goes on with commits: deploy one that contains it, refship deploy --repo DIR --rev REV, "+
				"or give the directory a namespace of its own; or override it, "+override(job))
	}
	if r := v.Head.Record; r != nil && r.Kind == record.KindRollback && r.PreviousHash == job.Hash() {
		v.Undoes = v.Head
	}
	return nil
}

// override is what to do about a head that the job cannot follow.
func override(job *Job) string {
	switch {
	case job.Kind == record.KindDeploy:
		return "by hand: " + forceWay(job)
	case job.Elsewhere:
		return "which who runs the git server does by hand: refship deploy --repo DIR --rev REV --force --reason TEXT"
	}
	return "with the force permission: " + forceWay(job)
}

// forceWay is how a job says Force. A deploy that is no push may be by the command on any machine, which can force, or
// on a server's behalf, which can not: then a push can.
func forceWay(job *Job) string {
	const push = "git push -o deploy.force -o deploy.reason=TEXT"
	switch {
	case job.Dir != nil:
		return "refship deploy --dir DIR --force --reason TEXT"
	case job.Kind == record.KindDeploy && job.Elsewhere:
		return "refship deploy --repo DIR --rev REV --force --reason TEXT"
	case job.Kind == record.KindDeploy:
		return "refship deploy --repo DIR --rev REV --force --reason TEXT, or with the force permission " + push
	}
	return push
}

// again says what to do when the tree is mended.
func (j *Job) again() string {
	switch {
	case j.Dir != nil:
		return "deploy again"
	case j.Kind == record.KindDeploy:
		return "commit, push or deploy again"
	}
	return "commit, push again"
}

// pushAgain is again without the commit.
func (j *Job) pushAgain() string {
	if j.Kind == record.KindDeploy {
		return "push or deploy again"
	}
	return "push again"
}
