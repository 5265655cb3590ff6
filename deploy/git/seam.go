package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

func fromGoGit(hash plumbing.Hash) OID {
	oid, _ := ParseOID(hash.String()) // it is 40 hex digits
	return oid
}

// commit reads a commit. go-git makes sense of its text; its oids have 20 bytes, and appear in this file and nowhere
// else.
func (r *Repository) commit(ctx context.Context, oid OID) (*Commit, error) {
	if len(oid.Bytes()) != len(plumbing.Hash{}) {
		return nil, fmt.Errorf("read commit %s: go-git reads SHA-1 commits only", oid)
	}
	c := &object.Commit{}
	_, data, err := r.read(ctx, "commit", oid)
	if err == nil {
		raw := &plumbing.MemoryObject{}
		raw.SetType(plumbing.CommitObject)
		_, _ = raw.Write(data) // to memory
		err = c.Decode(raw)
	}
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("read commit %s: %w", oid, err)
	}
	found := &Commit{OID: oid, Tree: fromGoGit(c.TreeHash), Message: c.Message}
	toUTF8(string(c.Encoding), &found.Message)
	if c.Author.Email != "" {
		found.Author = fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email)
		toUTF8(string(c.Encoding), &found.Author)
	}
	for _, parent := range c.ParentHashes {
		found.Parents = append(found.Parents, fromGoGit(parent))
	}
	return found, nil
}
