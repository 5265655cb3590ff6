package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

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

// Job is one wish: put this commit, or this directory, into that chain.
type Job struct {
	Kind       record.Kind
	Repo       *git.Repository // with a Commit
	Commit     tree.OID        // of Repo
	Dir        *tree.Directory // in place of Repo and Commit
	Path       string          // of the commit's tree; "" is all of it, and so it is with Dir
	Frontend   record.Frontend // Auto: lang or yaml, as the tree has it
	Settings   record.Settings // of the frontend
	Repository string          // name
	Target     string
	Ref        string
	Pusher     record.Pusher
	Elsewhere  bool       // no server of refship's has the repository: remedies are other commands
	Force      bool       // override what the previous-hash table refuses, and nothing else; takes a Reason
	Reason     string     // UTF-8, at most 10,000 bytes; for the record
	Server     string     // host name of who publishes
	Signer     ssh.Signer // nil: unsigned
	MaxFile    int64      // the largest content that is newly stored, in bytes; 0: any
}

// Hash is the deploy hash that the job would publish.
func (j *Job) Hash() record.Hash {
	if j.Dir != nil {
		return record.TreeHash(j.Dir.Root())
	}
	return record.CommitHash(j.Commit)
}

// Is tells whether d is this very deploy.
func (j *Job) Is(d *record.Deploy) bool { return d.Hash == j.Hash() && j.alike(d) }

// alike tells whether the job makes of a commit what d made of its own.
func (j *Job) alike(d *record.Deploy) bool {
	r := d.Record
	return r != nil && r.Path == j.Path && j.Frontend.Covers(r.Frontend) && maps.Equal(r.Settings, j.Settings.Text())
}

// sameBelow tells whether the job deploys a path and has there what d deployed. A commit that changes nothing in a
// whole tree is deployed all the same: somebody made it for that.
func (j *Job) sameBelow(d *record.Deploy, root tree.OID) bool {
	return j.Path != "" && j.alike(d) && d.Record.Tree == root.String()
}

// Verdict is what the previous-hash table says of a job, and what was read to find out.
type Verdict struct {
	Head     *record.Deploy // nil: nothing yet
	Already  bool           // the head is this very deploy: there is nothing to do
	Same     bool           // the job has a path, and nothing below it differs from the head: there is nothing to do
	Forced   *ConflictError // what Force overrode; nil if nothing had to be
	Undoes   *record.Deploy // the head, if it is a rollback whose undone commit or directory comes back with this job
	Commits  []tree.OID     // from the previous hash (excluded) to the commit, newest first; forced: only the commit; none of a directory
	More     bool           // there are more commits than are stored
	previous record.Hash    // deploy hash of the head, "" if there is none
	subject  string         // of the commit, or a directory's name
	author   string
	tree     tree.OID   // at the job's path
	above    []tree.OID // the trees from the commit's down to, without, tree
}

// Idle tells whether there is nothing to deploy.
func (v *Verdict) Idle() bool { return v.Already || v.Same }

// Check reads the chain's head and says whether the job may replace it: a *ConflictError or a fault.Refused if not.
// It writes nothing and takes no lock, so the answer may be outdated; Prepare asks again.
//
// Nothing yet: the first deploy. The same commit or directory, path, frontend and settings: nothing to do. An ancestor
// of the commit: the next deploy, or nothing to do if the job has a path below which nothing differs. A directory after
// a directory: the next deploy. Anything else: refused, unless the job says Force.
func (c *Chain) Check(ctx context.Context, job *Job) (*Verdict, error) {
	if err := job.check(); err != nil {
		return nil, err
	}
	if err := checkReason(job); err != nil {
		return nil, err
	}
	state, err := c.State(ctx)
	if err == nil {
		err = c.held(state.Hold)
	}
	if err != nil {
		return nil, err
	}
	v := &Verdict{Head: state.Head}
	if err := v.read(job); err != nil {
		return nil, err
	}
	if v.Head == nil {
		v.Commits = job.commits()
		return v, nil
	}
	v.previous = v.Head.Hash
	if err := c.checkMixed(job, v.Head); err != nil {
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
	switch {
	case len(job.Reason) > MaxReason:
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("the reason has %d bytes, a record takes %d", len(job.Reason), MaxReason),
			Remedy: "say it shorter",
		}
	case !utf8.ValidString(job.Reason):
		return &fault.Error{Kind: fault.Refused, What: "the reason is not UTF-8, and a record is", Remedy: "write it in UTF-8"}
	case job.Force && strings.TrimSpace(job.Reason) == "":
		return &fault.Error{
			Kind:   fault.Refused,
			What:   "a forced deploy needs a reason, which its record keeps",
			Remedy: "say why: " + forceWay(job),
		}
	}
	return nil
}

// checkMixed refuses what would make one chain both refship's own and mgmt's: mgmt takes the highest payload for the
// newest deploy.
func (c *Chain) checkMixed(job *Job, head *record.Deploy) error {
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
	remedy := "give the target a namespace of its own: " + job.setTarget("--namespace NS")
	if job.Target == "" {
		remedy = "deploy into a namespace of its own: --namespace NS"
	}
	return &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("the deploys in %s are %s, and this one is %s", c.ns, whose(is), whose(!is)), Remedy: remedy}
}

// read takes in the commit and finds the tree at the job's path.
func (v *Verdict) read(job *Job) error {
	if job.Dir != nil {
		v.readDirectory(job.Dir)
		return nil
	}
	commit, err := job.Repo.Commit(job.Commit)
	if errors.Is(err, git.ErrNotFound) {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s of %s is no commit, and only a commit is deployed", job.Hash().Short(), text.Printable(job.Ref)),
			Remedy: "of an annotated tag, push what it stands on: git push REMOTE TAG^{commit}:" + text.Printable(job.Ref),
		}
	}
	if err != nil {
		return fmt.Errorf("read commit: %w", err)
	}
	v.subject = record.SubjectOf(commit.Message)
	v.author = record.Shorten(commit.Author)
	v.tree, v.above, err = job.Repo.TreeAt(commit, job.Path)
	var none *git.NoPathError
	if errors.As(err, &none) {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("commit %s has no directory %q, which %s: %s", job.Hash().Short(), job.Path, job.wants(), none.Found),
			Remedy: noPathRemedy(job),
		}
	}
	return err
}

// wants says whose wish a setting of the job is.
func (j *Job) wants() string {
	if j.Target == "" {
		return "is to be deployed"
	}
	return "the target " + j.Target + " of " + j.Repository + " deploys"
}

func noPathRemedy(job *Job) string {
	if job.Target == "" {
		return "commit that directory, or name another with --path"
	}
	return "commit that directory and push again, or push to a ref that is not deployed; " +
		"who runs the server gives the target another path with: " + job.setTarget("--path PATH")
}

// setTarget is the command that changes a setting of the job's target.
func (j *Job) setTarget(flag string) string {
	if j.Elsewhere {
		return "refship hook install DIR --target " + j.Target + " " + flag
	}
	return "refship repo target set " + j.Repository + " " + j.Target + " " + flag
}

// conflict says that the job may not replace the head.
func (c *Chain) conflict(job *Job, v *Verdict, why, remedy string) error {
	return &ConflictError{Namespace: c.ns, Head: v.Head, Want: job.Hash(), Why: why, Remedy: remedy}
}

// checkPrevious holds the job's hash against the head's.
func (c *Chain) checkPrevious(ctx context.Context, job *Job, v *Verdict) error {
	switch {
	case v.Head.Hash == "":
		return c.conflict(job, v, "that deploy has no hash, so nothing can be checked against it",
			"deploy once with the tool that made it, with a hash; or override it, "+override(job))
	case job.Dir != nil:
		return c.checkDirectory(job, v)
	case v.Head.Hash.IsTree():
		return c.conflict(job, v, "that is a plain directory, and your "+job.Hash().Short()+" is a commit",
			"a chain of plain directories goes on with plain directories, refship deploy --dir DIR: give the repository a namespace of its own; or override it, "+override(job))
	}
	return c.checkCommit(ctx, job, v)
}

// checkCommit holds the job's commit against the head's.
func (c *Chain) checkCommit(ctx context.Context, job *Job, v *Verdict) error {
	short := job.Hash().Short()
	if err := checkRollback(ctx, job, v); err != nil {
		return err
	}
	between, err := job.Repo.Between(ctx, v.Head.Hash.OID(), job.Commit, maxCommits)
	unknown := errors.Is(err, git.ErrUnknownCommit)
	switch {
	case err != nil && !unknown:
		return fmt.Errorf("compare %s with %s: %w", v.Head.Hash.Short(), short, err)
	case between.Related:
		v.Commits, v.More = between.Commits, between.More
		return nil
	case v.Undoes != nil: // back to where the chain was, from another line of history
		v.Commits = job.commits()
		return nil
	case !unknown:
		back, err := job.Repo.Between(ctx, job.Commit, v.Head.Hash.OID(), 0)
		if err != nil {
			return fmt.Errorf("compare %s with %s: %w", short, v.Head.Hash.Short(), err)
		}
		if back.Related {
			return c.conflict(job, v, "your "+short+" does not contain it: it is older",
				"to go back, git revert what came after it and "+strings.TrimSuffix(job.pushAgain(), " again")+" that; or override it, "+override(job))
		}
	}
	why, remedy := catchUp(job, v.Head, unknown)
	return c.conflict(job, v, why, remedy)
}

// catchUp says why the job's commit cannot follow the head's, and where to get what it lacks.
func catchUp(job *Job, head *record.Deploy, unknown bool) (why, remedy string) {
	branch := strings.TrimPrefix(job.Ref, "refs/heads/")
	why = "your " + job.Hash().Short() + " does not contain it"
	if unknown {
		why = "this repository does not have that commit"
	}
	if job.Repo.IsShallow() {
		return why + ", and is a shallow clone", "fetch what it lacks: git fetch --unshallow; then " + job.pushAgain()
	}
	if from := elsewhere(job, head.Record); from != "" {
		if head.Record.Ref != "" {
			branch = text.Printable(strings.TrimPrefix(head.Record.Ref, "refs/heads/"))
		}
		return "it came from " + from + ", and " + why,
			"catch up from there: git pull --rebase URL " + branch + ", with the URL of " + from + "; then " + job.pushAgain()
	}
	if unknown {
		return why, "bring it in from where it was deployed (see refship show " + head.ID.String() + "), merge or rebase, then " + job.pushAgain() + "; or override it, " + override(job)
	}
	return why, strings.TrimSpace("git pull --rebase REMOTE "+branch) + ", then " + job.pushAgain()
}

// elsewhere names the repository and the server that a record is from, if they are not the job's own. Servers of one host
// name are told apart by their signing keys.
func elsewhere(job *Job, r *record.Record) string {
	if r == nil {
		return ""
	}
	differ := func(theirs, ours string) bool { return theirs != "" && ours != "" && theirs != ours }
	signer := ""
	if job.Signer != nil {
		signer = ssh.FingerprintSHA256(job.Signer.PublicKey())
	}
	var where []string
	if r.Repository != "" {
		where = append(where, "repository "+text.Printable(r.Repository))
	}
	switch {
	case r.Kind == record.KindDeploy && r.Pusher.Via != "ssh" && !differ(r.Repository, job.Repository):
		return "" // by hand: the server is where that was, and not where the repository is
	case differ(r.Server, job.Server):
		where = append(where, "server "+text.Printable(r.Server))
	case differ(r.Signer, signer):
		where = append(where, strings.TrimSpace("server "+text.Printable(r.Server))+" with the signing key "+text.Printable(r.Signer))
	case !differ(r.Repository, job.Repository):
		return ""
	}
	return strings.Join(where, " on ")
}

// checkRollback notices that a commit that was rolled back comes back.
func checkRollback(ctx context.Context, job *Job, v *Verdict) error {
	r := v.Head.Record
	if r == nil || r.Kind != record.KindRollback || r.PreviousHash == "" || r.PreviousHash.IsTree() {
		return nil
	}
	between, err := job.Repo.Between(ctx, r.PreviousHash.OID(), job.Commit, 0)
	if err != nil && !errors.Is(err, git.ErrUnknownCommit) {
		return fmt.Errorf("compare %s with %s: %w", r.PreviousHash.Short(), job.Commit, err)
	}
	if between.Related {
		v.Undoes = v.Head
	}
	return nil
}
