package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/keys"
)

// maxCommits is how many commits of one deploy are stored. Beyond it only the deployed one is: its ancestry is then
// proved by the repository and not by etcd.
const maxCommits = record.MaxCounted

// Verdict is what the previous-hash table says of a job, and what was read to find out.
type Verdict struct {
	Head    *record.Deploy  // nil: no deploy yet
	Already bool            // the head is this very deploy: nothing to do. Of mgmt's own, Prepare finds it out
	Same    bool            // the job has a path, and nothing below it differs from the head: there is nothing to do
	Forced  *ConflictError  // what Force overrode; nil if nothing had to be
	Odd     []string        // what is odd about the chain though it goes on, for the operator
	Back    []record.Undone // what was undone and comes back with the job: that was seen, or is forced or rolled back
	Again   record.ID       // the head at which that was seen; 0: nothing comes back, or by a rollback
	Held    *record.Hold    // who holds the chain all the same; nil: it is not held
	// Commits are those from the head's (excluded) to the job's, newest first; of a forced deploy only the job's, of a
	// directory none.
	Commits []tree.OID
	More    bool // there are more commits than are stored

	newest *record.Deploy  // the newest sound deploy with a record, at or below Head; nil: none
	undone []record.Undone // what stays undone with the job
	holdAt int64           // mod revision of the hold; 0: not held

	rollout   *record.Rollout // of the head, or of an earlier deploy; nil: none
	rolloutAt int64           // its mod revision; 0: none

	subject string // of the commit, or a directory's name
	author  string
	tree    tree.OID       // at the job's path
	above   []tree.OID     // the trees from the commit's down to tree, without it
	stored  *record.Stored // what the namespace holds; nil: not counted
	log     *chainLog      // nil if the verdict is Idle

	storedAt int64 // its mod revision; 0: none
}

// Counted is how many commits there are, as a record counts them: record.CountCommits.
func (v *Verdict) Counted() int {
	if v.More {
		return record.MaxCounted + 1
	}
	return len(v.Commits)
}

// Idle tells whether there is nothing to deploy.
func (v *Verdict) Idle() bool { return v.Already || v.Same }

// Restarts tells whether the deploy will begin the chain anew, above records none of which is sound.
func (v *Verdict) Restarts() bool { return v.newest == nil && v.Head != nil && v.Head.Damage != nil }

// nextID is the id that the deploy will have.
func (v *Verdict) nextID() record.ID {
	if v.Head == nil {
		return 1
	}
	return v.Head.ID + 1
}

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
// directory after a directory: the next deploy. Anything else, such as another object format: refused, unless the job
// says Force.
func (c *Chain) Check(ctx context.Context, job *Job) (*Verdict, error) {
	for {
		v, err := c.check(ctx, job)
		if !errors.Is(err, errHeadMoves) {
			return v, err
		}
	}
}

func (c *Chain) check(ctx context.Context, job *Job) (*Verdict, error) {
	if err := job.validate(); err != nil {
		return nil, err
	}
	if err := checkReason(job); err != nil {
		return nil, err
	}
	state, err := c.State(ctx)
	switch {
	case err != nil:
		return nil, err
	case state.Hold != nil && !job.passesHold() && !job.DryRun:
		return nil, c.heldError(state.Hold)
	}
	v := &Verdict{
		Head: state.Head, Held: state.Hold, holdAt: state.HoldAt, stored: state.Stored, storedAt: state.StoredAt,
		rollout: state.Rollout, rolloutAt: state.RolloutAt,
	}
	if err := v.readSource(job); err != nil {
		return nil, err
	}
	if err := c.readNewest(ctx, v); err != nil {
		return nil, err
	}
	v.Odd = state.Warnings(c.ns, v.newestRecord(), time.Now())
	signers, err := c.trust()
	if err == nil {
		err = checkSigner(job, signers)
	}
	if err == nil {
		signers, err = record.NewTrust(signers, c.Down).Signers(ctx, v.Head, v.newest, job.To)
	}
	if err != nil {
		return nil, err
	}
	if v.Head == nil {
		v.Commits, v.undone = job.commits(), []record.Undone{}
	} else if err = c.checkFrontend(job, v, signers); err == nil {
		err = c.checkHead(ctx, job, v, signers)
	}
	if v.Idle() {
		return v, err
	}
	if err == nil {
		err = c.checkLog(ctx, job, v)
	}
	if err := c.override(ctx, job, v, err); err != nil {
		return nil, err
	}
	if v.Head == nil {
		return v, nil
	}
	return v, c.judgeUndone(ctx, job, v)
}

// override takes what keeps the job out, nil for nothing, and gives what Force does not override of it.
func (c *Chain) override(ctx context.Context, job *Job, v *Verdict, err error) error {
	var conflict *ConflictError
	switch isConflict := errors.As(err, &conflict); {
	case isConflict && job.Force:
		v.Forced, v.Commits, v.More = conflict, job.commits(), false
		if v.log != nil {
			return nil
		}
		if err := c.checkLog(ctx, job, v); err != nil && !errors.As(err, new(*ConflictError)) {
			return err
		}
		return nil
	case isConflict:
		conflict.Rewinds = job.rewinds(ctx)
		if job.NoForce {
			conflict.NoForce = job.Repository
		}
	}
	return err
}

// readNewest finds the newest sound record, on which the next one stands.
func (c *Chain) readNewest(ctx context.Context, v *Verdict) error {
	if v.Head != nil && v.Head.ID >= record.MaxID {
		deploy := fmt.Sprintf("%s/deploy/%d/", c.ns, v.Head.ID)
		return fault.New(fault.Corrupt, fmt.Sprintf("verify %s: no id is left for the next deploy", deploy),
			"something other than refship has put it there: etcdctl del --prefix "+deploy)
	}
	head := v.Head
	newest, damaged, err := c.NewestRecord(ctx, head)
	if err != nil || head == nil {
		return err
	}
	switch {
	case head.Record != nil || head.Damage != nil:
	case damaged != nil: // below a foreign head
		head.Damage = damaged.Damage
	case newest != nil && !newest.Record.Frontend.IsMgmt():
		// mgmt, which writes deploys without a record, does not read this chain.
		head.Damage = record.Corrupt(c.DeployKey(head.ID, record.KeyRecord), "the record is missing")
	}
	v.newest = newest
	return nil
}

// top is the commit's own tree.
func (v *Verdict) top() tree.OID {
	if len(v.above) > 0 {
		return v.above[0]
	}
	return v.tree
}

// newestRecord is the newest sound record, nil if there is none.
func (v *Verdict) newestRecord() *record.Record {
	if v.newest == nil {
		return nil
	}
	return v.newest.Record
}

// checkSigner refuses to publish what would count for nothing.
func checkSigner(job *Job, signers *keys.AllowedSigners) error {
	if signers == nil {
		return nil
	}
	refuse := func(what, key string) error {
		about := []string{string(job.Kind), key}
		return &fault.Error{Kind: fault.Refused, What: what, Reason: ReasonNotAllowed, About: about}
	}
	if job.Signer == nil {
		return refuse("the deploy would not be signed, and only signed ones count here", "")
	}
	key := ssh.FingerprintSHA256(job.Signer.PublicKey())
	if _, err := signers.Judge(keys.Namespace, key, time.Now()); err != nil {
		return refuse("the deploy would not count: its signer "+err.Error(), key)
	}
	return nil
}

// checkHead says whether the job may replace the head, and whether it has to: a *ConflictError if it may not.
func (c *Chain) checkHead(ctx context.Context, job *Job, v *Verdict, signers *keys.AllowedSigners) error {
	if err := v.Head.Damage; err != nil {
		reason := ReasonHeadDamaged
		if record.IsNewer(err) {
			reason = ReasonHeadNewer
		}
		return c.distrust(job, v.Head, err.Error(), reason)
	}
	if err := c.JudgeHead(job, v.Head, signers); err != nil {
		return err
	}
	if job.To != nil {
		return c.checkRollback(job, v, signers)
	}
	if v.Already = job.Is(v.Head); v.Already {
		return nil
	}
	if err := c.checkPrevious(ctx, job, v); err != nil {
		return err
	}
	v.Same = job.sameBelow(v.Head, v.tree)
	return nil
}

// JudgeHead says why the job cannot follow the chain's head, whatever that has: it is signed by nobody whose signature
// counts. It is a *ConflictError. A head without a record, which is another writer's, is not judged; nor is any where
// signers are nil: then it is not known whose signatures count.
func (c *Chain) JudgeHead(job *Job, head *record.Deploy, signers *keys.AllowedSigners) error {
	if signers == nil || head.Record == nil {
		return nil
	}
	if _, err := head.Judge(signers); err != nil {
		return c.distrust(job, head, err.Error(), ReasonHeadUntrusted)
	}
	return nil
}

func checkReason(job *Job) error {
	if job.Force && strings.TrimSpace(job.Reason) == "" {
		return fault.Refuse("say why", "a forced deploy needs a reason, which its record keeps")
	}
	return record.CheckReason(job.Reason)
}

// checkFrontend refuses what would make one chain both refship's own and mgmt's: mgmt takes the highest payload for
// the newest deploy. Where no sound and trusted record says whose the chain is, anybody who writes etcd may have made
// it seem the other's: then it is a conflict, with Force as the way out.
func (c *Chain) checkFrontend(job *Job, v *Verdict, signers *keys.AllowedSigners) error {
	whose := func(mgmt bool) string {
		if mgmt {
			return "mgmt's"
		}
		return "of the frontend " + string(record.Files)
	}
	is, proven := true, v.newest != nil
	if v.newest != nil {
		is = v.newest.Record.Frontend.IsMgmt()
		if signers != nil {
			_, err := v.newest.Judge(signers)
			proven = err == nil
		}
	}
	what := fmt.Sprintf("the deploys in %s are %s, and this one is %s", c.ns, whose(is), whose(!is))
	switch {
	case is == job.Frontend.IsMgmt():
		return nil
	case proven:
		return &fault.Error{Kind: fault.Refused, What: what, Reason: ReasonNamespaceMixed,
			About: []string{job.Repository, job.Target, string(c.ns)}}
	case v.Head.Damage != nil || v.Head.Record != nil:
		return nil // checkHead refuses it
	}
	return &ConflictError{Kind: fault.Refused, Namespace: c.ns, Head: v.Head, Why: what, Reason: ReasonHeadForeign,
		About: []string{string(job.Kind), v.Head.ID.String(), string(c.ns)}}
}

// readSource reads the commit or directory, and finds the tree at the job's path.
func (v *Verdict) readSource(job *Job) error {
	if job.To != nil {
		v.readDeploy(job.To)
		return nil
	}
	if job.Dir != nil {
		// No more than the last element of the directory's path: the others tell of the machine that it is on.
		what := "directory "
		if job.Dir.IsFile {
			what = "file "
		}
		v.tree, v.subject = job.Dir.Root(), record.Shorten(what+job.Dir.Name)
		return nil
	}
	commit, err := job.Repo.Commit(job.Commit)
	if errors.Is(err, git.ErrNotFound) {
		return fault.New(fault.Refused,
			fmt.Sprintf("%s of %s is no commit, and only a commit is deployed", job.Hash().Short(), text.Printable(job.Ref)),
			"push a commit, or an annotated tag of a commit")
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
	case job.otherFormat(head):
		return c.formatConflict(job, head)
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
	if job.Dir != nil {
		return nil // it has no history, and so replaces any other directory
	}
	return c.checkHistory(ctx, job, v)
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
	case relation == RelationBehind:
		return c.conflict(job, v.Head, "your "+job.Hash().Short()+" does not contain it: it is older", "", ReasonCommitOlder)
	}
	why, remedy, reason := catchUp(job, v.Head, relation == RelationUnknown)
	return c.conflict(job, v.Head, why, remedy, reason)
}
