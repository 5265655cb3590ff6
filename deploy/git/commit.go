package git

import (
	"context"
	"errors"
	"fmt"
)

// Commit is a commit of a repository.
type Commit struct {
	OID     OID
	Tree    OID
	Parents []OID
	Author  string // "Name <mail>", converted to UTF-8 if the commit says from what
	Message string // likewise
}

// Commit reads a commit. The error wraps ErrNotFound if nothing or no commit has this oid.
func (r *Repository) Commit(oid OID) (*Commit, error) { return r.commit(r.ctx, oid) }

func (r *Repository) commit(ctx context.Context, oid OID) (*Commit, error) {
	_, data, err := r.read(ctx, "commit", oid)
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("read commit %s: %w", oid, err)
	}
	return decode(oid, data)
}
