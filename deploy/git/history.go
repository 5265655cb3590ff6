package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
)

// walkLimit is how many commits of a linear history are walked before git is asked.
const walkLimit = 1000

// Range is what one commit has and another has not.
type Range struct {
	Related bool  // ancestor is descendant or an ancestor of it
	Commits []OID // newest first; none if not related
	More    bool  // there are more than limit
}

// Between gives the commits that descendant has and ancestor has not, newest first, at most limit. Related is false if
// ancestor is neither descendant nor an ancestor of it. A linear history of up to 1,000 commits is walked here;
// anything else is asked of git. Errors: ErrUnknownCommit if the repository has no commit ancestor (asked before
// anything else), ErrNotFound if it has no commit descendant.
func (r *Repository) Between(ctx context.Context, ancestor, descendant OID, limit int) (Range, error) {
	if limit < 0 {
		return Range{}, fmt.Errorf("list commits: negative limit %d", limit)
	}
	if _, _, err := r.read(ctx, "commit", ancestor); errors.Is(err, ErrNotFound) {
		return Range{}, fmt.Errorf("%w: %s", ErrUnknownCommit, ancestor)
	} else if err != nil {
		return Range{}, err
	}
	commits, verdict, err := r.walk(ctx, ancestor, descendant)
	if err != nil {
		return Range{}, err
	}
	switch verdict {
	case walkFound:
		more := len(commits) > limit
		return Range{Related: true, Commits: commits[:min(limit, len(commits))], More: more}, nil
	case walkNotThere:
		return Range{}, nil
	}
	return r.askBetween(ctx, ancestor, descendant, limit)
}

type walkVerdict int

const (
	walkAskGit   walkVerdict = iota // a merge, a missing parent (shallow repository), or too far
	walkFound                       // the commits are all there are
	walkNotThere                    // the whole history was seen
)

// walk follows descendant's single parents down to ancestor.
func (r *Repository) walk(ctx context.Context, ancestor, descendant OID) ([]OID, walkVerdict, error) {
	var commits []OID
	for at := descendant; ; {
		if at == ancestor {
			return commits, walkFound, nil
		}
		if len(commits) == walkLimit {
			return nil, walkAskGit, nil
		}
		c, err := r.commit(ctx, at)
		if errors.Is(err, ErrNotFound) && len(commits) > 0 {
			return nil, walkAskGit, nil
		}
		if err != nil {
			return nil, walkAskGit, err
		}
		commits = append(commits, at)
		switch len(c.Parents) {
		case 0:
			return nil, walkNotThere, nil
		case 1:
			at = c.Parents[0]
		default:
			return nil, walkAskGit, nil
		}
	}
}

// askBetween asks git, which has generation numbers and stops early where we would not.
func (r *Repository) askBetween(ctx context.Context, ancestor, descendant OID, limit int) (Range, error) {
	_, err := r.run(ctx, "merge-base", "--is-ancestor", "--end-of-options", ancestor.String(), descendant.String())
	if isNo(err) {
		return Range{}, nil
	}
	if err != nil {
		return Range{}, err
	}
	out, err := r.run(ctx, "rev-list", "--topo-order", "--max-count="+strconv.Itoa(limit+1), "--end-of-options",
		descendant.String(), "^"+ancestor.String())
	if err != nil {
		return Range{}, err
	}
	b := Range{Related: true}
	for line := range bytes.Lines(out) {
		oid, err := ParseOID(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return Range{}, fmt.Errorf("list commits: git rev-list printed %.100q", line)
		}
		b.Commits = append(b.Commits, oid)
	}
	if len(b.Commits) > limit {
		b.Commits, b.More = b.Commits[:limit], true
	}
	return b, nil
}
