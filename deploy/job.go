package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"golang.org/x/crypto/ssh"

	"refship/deploy/git"
	"refship/deploy/plan"
	"refship/deploy/record"
	"refship/deploy/tree"
	"refship/keys"
)

// Job asks for a deploy: put this commit, or this directory, into a chain.
type Job struct {
	Kind   record.Kind
	Repo   *git.Repository // with a Commit
	Commit tree.OID        // of Repo; until Peel, perhaps an annotated tag of it
	// Certificate is the push certificate that asked for the deploy, an object of Repo; zero: none.
	Certificate tree.OID
	Tag         record.Tag      // that Peel has found; the zero Tag: none
	Dir         *tree.Directory // in place of Repo and Commit
	To          *record.Deploy  // in place of Commit and Dir: the chain's earlier deploy that a rollback publishes again
	From        record.ID       // of a rollback: the head that its user knew
	ByNumber    bool            // of a rollback: its user named To by its number, so that it may bring back what was undone
	Path        string          // in the commit's tree; "" is all of it, as it is with Dir
	Frontend    record.Frontend // Auto: lang or yaml, as the tree has it
	Settings    record.Settings // of the frontend
	Repository  string          // name
	Target      string
	Ref         string
	Moved       bool     // Ref is at the commit already: to catch up is to merge
	Was         tree.OID // what Ref was before the push; zero: nothing, or not known
	Pusher      record.Pusher
	NoForce     bool         // the pusher may not force: a refusal tells that
	Force       bool         // override what the previous-hash table refuses, and nothing else; takes a Reason
	Again       []record.ID  // heads that were seen: where one is the chain's, what was undone there may come back
	Rings       record.Rings // how it reaches nodes; of a rollback they do not count
	Hold        *record.Hold // of a rollback: hold the chain with it, if it is not held
	Unasked     bool         // of a rollback: no person has asked for it, and it may not pass a hold
	DryRun      bool         // nothing will be published: a hold does not matter
	Reason      string       // UTF-8, at most 10,000 bytes; for the record
	Server      string       // name of the host that publishes
	Signer      ssh.Signer   // nil: unsigned
	// Rotation gives, when the deploy is published, what is to sign in place of Signer: a key, and the one that follows
	// it in each chain after it was announced there. nil: Signer signs.
	Rotation  func() (keys.Signers, error)
	MaxFile   int64        // the largest content that is newly stored, in bytes; 0: any
	MaxStored record.Limit // what the namespace may hold with this deploy
	// AllowPointers lets Git LFS pointers be deployed as they are.
	AllowPointers bool

	tags []tree.OID // objects, from Tag to the commit
}

// Peel makes the commit that an annotated tag names the job's, and keeps the tag for the record, with the key that
// signed it where its SSH signature is good; whether that key is trusted is not looked at. A tag of anything but
// a commit stays what it is, and is refused as no commit.
func (j *Job) Peel(ctx context.Context) error {
	if j.Dir != nil || j.To != nil {
		return nil
	}
	tags, at, err := j.Repo.Peel(ctx, j.Commit)
	switch {
	case errors.Is(err, git.ErrNotFound), err == nil && len(tags) == 0:
		return nil // what is not there is told when it is read
	case err != nil:
		return err
	}
	if j.Kind == record.KindPush && strings.HasPrefix(j.Ref, "refs/heads/") {
		return nil // git takes none: it is refused as no commit
	}
	if _, err := j.Repo.Commit(at); errors.Is(err, git.ErrNotFound) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read commit: %w", err)
	}
	j.Commit, j.Tag, j.tags = at, record.Tag{OID: tags[0].OID.String()}, nil
	for _, t := range tags {
		j.tags = append(j.tags, t.OID)
	}
	if signed, signature := tags[0].Signed(); signature != nil {
		if key, err := keys.Verify(keys.GitNamespace, signed, signature); err == nil {
			j.Tag.Key = ssh.FingerprintSHA256(key)
		}
	}
	return nil
}

// Hash is the deploy hash that the job would publish.
func (j *Job) Hash() record.Hash {
	switch {
	case j.To != nil:
		return j.To.Hash
	case j.Dir != nil:
		return record.TreeHash(j.Dir.Root())
	}
	return record.CommitHash(j.Commit)
}

// passesHold tells whether a hold does not keep it: of rollbacks that somebody has asked for.
func (j *Job) passesHold() bool { return j.To != nil && !j.Unasked }

// Source is the job's Dir or Repo.
func (j *Job) Source() plan.Source {
	if j.Dir != nil {
		return j.Dir
	}
	return j.Repo
}

// Is tells whether d is this very deploy.
func (j *Job) Is(d *record.Deploy) bool { return d.Hash == j.Hash() && j.sameSettings(d) }

// otherFormat tells whether the job's objects have names of another format than those of d, which has a hash: it
// follows d by force alone.
func (j *Job) otherFormat(d *record.Deploy) bool {
	return d.Hash.OID().Format() != j.Hash().OID().Format()
}

// mgmtHas tells whether d, which may be nil, is mgmt's own deploy of the job's hash.
func (j *Job) mgmtHas(d *record.Deploy) bool {
	return d != nil && d.Record == nil && d.Damage == nil && j.Frontend.IsMgmt() && d.Hash == j.Hash()
}

// sameSettings tells whether the job makes of a commit what d made of its own.
func (j *Job) sameSettings(d *record.Deploy) bool {
	r := d.Record
	return r != nil && r.Path == j.Path && j.Frontend.Covers(r.Frontend) && maps.Equal(r.Settings, j.Settings.Text())
}

// sameBelow tells whether the job deploys a path, and d has the same tree there. A commit that changes nothing in a
// whole tree is deployed all the same: it was made for that.
func (j *Job) sameBelow(d *record.Deploy, tree tree.OID) bool {
	return j.Path != "" && j.sameSettings(d) && d.Record.Tree == tree
}

// rewinds tells whether the push takes commits out of the ref.
func (j *Job) rewinds(ctx context.Context) bool {
	if j.Repo == nil || j.Was.IsZero() {
		return false
	}
	between, err := j.Repo.Between(ctx, j.Was, j.Commit, 0)
	return err == nil && !between.Related
}

// validate refuses a job that contradicts itself.
func (j *Job) validate() error {
	switch {
	case j.To != nil && (j.Dir != nil || !j.Commit.IsZero() || j.To.Record == nil):
		return errors.New("job has a deploy to go back to, and something else besides, or the deploy has no record")
	case j.To != nil:
	case j.Dir == nil && j.Repo == nil:
		return errors.New("job has neither a commit nor a directory")
	case j.Dir != nil && (j.Repo != nil || !j.Commit.IsZero() || j.Path != ""):
		return errors.New("job has a directory, and a repository, a commit or a path besides")
	}
	return nil
}

// commits are those that the job has when it follows none: its own.
func (j *Job) commits() []tree.OID {
	if j.Hash().IsTree() {
		return nil
	}
	return []tree.OID{j.Hash().OID()}
}

// afterChange says what to do when the tree is corrected.
func (j *Job) afterChange() string {
	switch {
	case j.Dir != nil:
		return "deploy again"
	case j.Kind == record.KindDeploy:
		return "commit, push or deploy again"
	}
	return "commit, push again"
}

// pushAgain is afterChange without the commit.
func (j *Job) pushAgain() string {
	if j.Kind == record.KindDeploy {
		return "push or deploy again"
	}
	return "push again"
}
