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
	if commits := r.walkPushed(ancestor, descendant); len(commits) > 0 {
		return Range{Related: true, Commits: commits[:min(limit, len(commits))], More: len(commits) > limit}, nil
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

// walkPushed follows descendant's single parents down to ancestor, through commits that were read already; none: it
// does not lead there. A commit that names ancestor proves that there is one: git has looked for it when it took the
// push.
func (r *Repository) walkPushed(ancestor, descendant OID) (commits []OID) {
	for at := descendant; at != ancestor; {
		o := r.pushed[at]
		if o.typ != "commit" || len(commits) == walkLimit {
			return nil
		}
		c, err := decode(at, o.data)
		if err != nil || len(c.Parents) != 1 {
			return nil
		}
		commits, at = append(commits, at), c.Parents[0]
	}
	return commits
}

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
	if b.Commits, err = parseList(out); err != nil {
		return Range{}, err
	}
	if len(b.Commits) > limit {
		b.Commits, b.More = b.Commits[:limit], true
	}
	return b, nil
}

// Without gives the commits that one has and another has not, newest first, at most limit, and tells whether there are
// more. Where have is zero, or no commit of the repository, it is all of them.
func (r *Repository) Without(ctx context.Context, commit, have OID, limit int) (commits []OID, more bool, err error) {
	args := []string{"rev-list", "--topo-order", "--max-count=" + strconv.Itoa(limit+1), "--end-of-options",
		commit.String()}
	if !have.IsZero() {
		_, _, err := r.read(ctx, "commit", have)
		switch {
		case err == nil:
			args = append(args, "^"+have.String())
		case !errors.Is(err, ErrNotFound):
			return nil, false, err
		}
	}
	out, err := r.run(ctx, args...)
	if err != nil {
		return nil, false, err
	}
	if commits, err = parseList(out); err != nil {
		return nil, false, err
	}
	return commits[:min(len(commits), limit)], len(commits) > limit, nil
}

// parseList reads the oids that rev-list prints.
func parseList(out []byte) (oids []OID, err error) {
	for line := range bytes.Lines(out) {
		oid, err := ParseOID(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil {
			return nil, fmt.Errorf("list commits: git rev-list printed %.100q", line)
		}
		oids = append(oids, oid)
	}
	return oids, nil
}
