package signed

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
	"refship/hooks/target"
)

// The remedies that a command of the program words. About: repository and target.
const (
	ReasonPush    fault.Reason = "signed-push-required"
	ReasonCommits fault.Reason = "signed-commits-required"
)

// CheckPush says whether a push, with a certificate or nil, is signed as a target wants.
func CheckPush(repository string, t target.Target, c *Certificate) error {
	if !t.RequireSignedPush {
		return nil
	}
	if lacks := c.lacks(); lacks != "" {
		return &fault.Error{
			Kind: fault.Refused, What: fmt.Sprintf("%s takes only signed pushes to %s, and %s", repository, t.Ref, lacks),
			Reason: ReasonPush, About: []string{repository, t.Name},
		}
	}
	return nil
}

// Commits say what a deploy brings.
type Commits struct {
	Repo   *git.Repository
	Commit git.OID // what is deployed
	Tag    git.OID // the annotated tag that asked for it; zero: none
	Below  git.OID // what was deployed before, whose commits are not new; zero: nothing
}

// CheckCommits says whether what a deploy brings is signed as a target wants. A tag's signature stands for the commit
// that is deployed.
func (t *Trust) CheckCommits(ctx context.Context, repository string, of target.Target, c Commits) error {
	if of.RequireSignedCommits == "" {
		return nil
	}
	all := []git.OID{c.Commit}
	if of.RequireSignedCommits == target.AllCommits {
		var more bool
		var err error
		if all, more, err = c.Repo.Without(ctx, c.Commit, c.Below, record.MaxCounted); err != nil {
			return err
		}
		if more {
			return fault.Refuse("push them in parts, older ones first: git push REMOTE COMMIT:BRANCH",
				"the deploy brings more than %d commits, too many to look at their signatures", record.MaxCounted)
		}
	}
	tagged, err := t.isTagged(ctx, c)
	if err != nil {
		return err
	}
	var wrong []string
	for _, oid := range all {
		if tagged && oid == c.Commit {
			continue
		}
		is, err := t.object(ctx, c.Repo, oid)
		if err != nil {
			return err
		}
		if is.Status != Good {
			wrong = append(wrong, fmt.Sprintf("%s %s", record.CommitHash(oid).Short(), is.Why))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	what := "the deployed commit"
	if of.RequireSignedCommits == target.AllCommits {
		what = "each commit"
	}
	return &fault.Error{
		Kind: fault.Refused, Reason: ReasonCommits, About: []string{repository, of.Name},
		What: fmt.Sprintf("%s wants %s for %s signed by an allowed signer: %s", repository, what, of.Ref,
			text.Printable(text.First(maxTold, wrong))),
	}
}

// maxTold bounds the commits that are named.
const maxTold = 5

// isTagged tells whether a tag vouches for the deployed commit.
func (t *Trust) isTagged(ctx context.Context, c Commits) (bool, error) {
	if c.Tag.IsZero() {
		return false, nil
	}
	is, err := t.object(ctx, c.Repo, c.Tag)
	return is.Status == Good, err
}

// object judges the signature of a commit or a tag.
func (t *Trust) object(ctx context.Context, repo *git.Repository, oid git.OID) (Signature, error) {
	raw, err := repo.Raw(oid)
	if err != nil {
		return Signature{}, fmt.Errorf("read signature: %w", err)
	}
	header, data, _ := bytes.Cut(raw, []byte{0})
	kind, _, _ := strings.Cut(string(header), " ")
	signed, signature := tree.SignedCommit(data, oid.Format())
	if kind == "tag" {
		signed, signature = tree.SignedTag(data)
	}
	at, err := tree.SignedAt(data)
	if err != nil && signature != nil {
		return Signature{Status: Bad, Why: "says no time at which it was signed"}, nil
	}
	return t.judge(ctx, signed, signature, "", at, time.Now())
}
