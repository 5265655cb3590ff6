package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/crypto/ssh"

	"refship/deploy/etcd"
	"refship/deploy/tree"
)

// maxCommits is how many commits of one deploy are stored. Beyond it only the deployed one is: its ancestry is then
// proved by the repository and not by etcd.
const maxCommits = 10_000

// maxReason bounds a reason, in bytes: a record is one value in etcd and a few lines for people.
const maxReason = 10_000

// Job is one wish: put this commit into that chain.
type Job struct {
	Kind       Kind
	Repo       *tree.Repository
	Commit     plumbing.Hash
	Path       string // "" is the whole tree
	Frontend   Frontend
	Settings   map[string]string // of the frontend
	Repository string            // name
	Target     string
	Ref        string
	Pusher     Pusher
	Reason     string
	Server     string     // host name of who publishes
	Signer     ssh.Signer // nil: unsigned
}

// Verdict is what the previous-hash table says of a job, and what was read to find out.
type Verdict struct {
	Head     *Deploy         // nil: nothing yet
	Already  bool            // the head is this very deploy: there is nothing to do
	Undoes   *Deploy         // the head, if it is a rollback whose undone commit comes back with this job
	Commits  []plumbing.Hash // from the previous hash (excluded) to the commit, newest first
	More     bool            // there are more commits than are stored
	previous Hash            // deploy hash of the head, "" if there is none
	commit   *object.Commit
	tree     plumbing.Hash   // at the job's path
	above    []plumbing.Hash // the trees from the commit's down to, without, tree
}

// Check reads the chain's head and says whether the job may replace it: a *ConflictError or a *RefusedError if not.
// It writes nothing and takes no lock, so the answer may be outdated; Prepare asks again.
//
// Nothing yet: the first deploy. The same commit, path, frontend and settings: nothing to do. An ancestor of the
// commit: the next deploy. Anything else: refused.
func (c *Chain) Check(ctx context.Context, job *Job) (*Verdict, error) {
	if len(job.Reason) > maxReason {
		return nil, &RefusedError{
			What:   fmt.Sprintf("the reason has %d bytes, a record takes %d", len(job.Reason), maxReason),
			Remedy: "say it shorter",
		}
	}
	if err := c.checkHold(ctx); err != nil {
		return nil, err
	}
	v := new(Verdict)
	var err error
	if v.Head, err = c.Head(ctx); err != nil {
		return nil, err
	}
	v.commit, err = job.Repo.Commit(job.Commit)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, &RefusedError{
			What:   fmt.Sprintf("%s of %s is no commit, and only a commit is deployed", Hash(job.Commit.String()).Short(), Printable(job.Ref)),
			Remedy: "of an annotated tag, push what it stands on: git push REMOTE TAG^{commit}:" + Printable(job.Ref),
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read commit: %w", err)
	}
	if v.tree, v.above, err = job.Repo.TreeAt(v.commit, job.Path); err != nil {
		return nil, refuseTree(err)
	}
	if v.Head == nil {
		v.Commits = []plumbing.Hash{job.Commit}
		return v, nil
	}
	v.previous = v.Head.Hash
	if v.Already = job.is(v.Head); v.Already {
		return v, nil
	}
	return v, c.checkPrevious(ctx, job, v)
}

// is tells whether d is this very deploy.
func (j *Job) is(d *Deploy) bool {
	r := d.Record
	return r != nil && r.Hash == Hash(j.Commit.String()) && r.Path == j.Path && r.Frontend == j.Frontend && maps.Equal(r.Settings, j.Settings)
}

// checkHold refuses while somebody holds the chain.
func (c *Chain) checkHold(ctx context.Context) error {
	resp, err := c.kv.Get(ctx, c.own("hold"))
	if err != nil {
		return fmt.Errorf("read hold of %s: %w", c.ns, etcd.Classify(err))
	}
	if len(resp.Kvs) == 0 {
		return nil
	}
	return &RefusedError{
		What:   fmt.Sprintf("%s is on hold: %s", c.ns, Printable(string(resp.Kvs[0].Value))),
		Remedy: "it deploys again when the key " + c.own("hold") + " is gone from etcd",
	}
}

// checkPrevious holds the job's commit against the head's deploy hash.
func (c *Chain) checkPrevious(ctx context.Context, job *Job, v *Verdict) error {
	short := Hash(job.Commit.String()).Short()
	conflict := func(why, remedy string) error {
		return &ConflictError{Namespace: c.ns, Head: v.Head, Want: Hash(job.Commit.String()), Why: why, Remedy: remedy}
	}
	switch {
	case v.Head.Hash == "":
		return conflict("that deploy has no hash, so nothing can be checked against it",
			"deploy once with the tool that made it, with a hash")
	case v.Head.Hash.IsTree():
		return conflict("that is a plain directory, and your "+short+" is a commit",
			"a chain of plain directories goes on with plain directories; give the repository a namespace of its own")
	}
	if err := checkRollback(ctx, job, v); err != nil {
		return err
	}
	between, err := job.Repo.Between(ctx, plumbing.NewHash(string(v.Head.Hash)), job.Commit, maxCommits)
	unknown := errors.Is(err, tree.ErrUnknownCommit)
	switch {
	case err != nil && !unknown:
		return fmt.Errorf("compare %s with %s: %w", v.Head.Hash.Short(), short, err)
	case between.Related:
		v.Commits, v.More = between.Commits, between.More
	case v.Undoes != nil: // back to where the chain was, from another line of history
		v.Commits = []plumbing.Hash{job.Commit}
	case unknown:
		return conflict("this repository does not have that commit",
			"bring it in from where it was deployed (see refship show "+v.Head.ID.String()+"), merge or rebase, then push again")
	default:
		return conflict("your "+short+" does not contain it", "git pull --rebase REMOTE "+strings.TrimPrefix(job.Ref, "refs/heads/")+", then push again")
	}
	return nil
}

// checkRollback notices that a commit that was rolled back comes back.
func checkRollback(ctx context.Context, job *Job, v *Verdict) error {
	r := v.Head.Record
	if r == nil || r.Kind != KindRollback || r.PreviousHash == "" || r.PreviousHash.IsTree() {
		return nil
	}
	between, err := job.Repo.Between(ctx, plumbing.NewHash(string(r.PreviousHash)), job.Commit, 0)
	if err != nil && !errors.Is(err, tree.ErrUnknownCommit) {
		return fmt.Errorf("compare %s with %s: %w", r.PreviousHash.Short(), job.Commit, err)
	}
	if between.Related {
		v.Undoes = v.Head
	}
	return nil
}

// refuseTree words an error about the tree as a refusal: the remedy is in the repository.
func refuseTree(err error) error {
	remedy := ""
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		remedy = hinted.Hint()
	}
	var none *tree.NoPathError
	if errors.As(err, &none) {
		return &RefusedError{What: err.Error(), Remedy: "commit that directory, or give the target another path"}
	}
	if remedy != "" {
		return &RefusedError{What: err.Error(), Remedy: remedy}
	}
	return err
}
