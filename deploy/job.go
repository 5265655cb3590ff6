package deploy

import (
	"context"
	"errors"
	"io"
	"maps"

	"golang.org/x/crypto/ssh"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// Job asks for a deploy: put this commit, or this directory, into a chain.
type Job struct {
	Kind       record.Kind
	Repo       *git.Repository // with a Commit
	Commit     tree.OID        // of Repo
	Dir        *tree.Directory // in place of Repo and Commit
	Path       string          // in the commit's tree; "" is all of it, as it is with Dir
	Frontend   record.Frontend // Auto: lang or yaml, as the tree has it
	Settings   record.Settings // of the frontend
	Repository string          // name
	Target     string
	Ref        string
	Pusher     record.Pusher
	Force      bool       // override what the previous-hash table refuses, and nothing else; takes a Reason
	Reason     string     // UTF-8, at most 10,000 bytes; for the record
	Server     string     // name of the host that publishes
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

// Is tells whether d is this very deploy.
func (j *Job) Is(d *record.Deploy) bool { return d.Hash == j.Hash() && j.sameSettings(d) }

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

// validate refuses a job that contradicts itself.
func (j *Job) validate() error {
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
