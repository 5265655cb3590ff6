package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// objects is the seam to go-git: its storage of objects, read through the repository's `git cat-file`, which sees a
// push's quarantine and alternates. go-git makes sense of commits. Its oids have 20 bytes; they appear here and nowhere
// else.
type objects struct {
	ctx  context.Context // go-git's interface has no place for it
	repo *Repository
}

var _ storer.EncodedObjectStorer = objects{}

// errReadOnly is what the writing half of the interface answers.
var errReadOnly = errors.New("repository is read only")

// EncodedObject reads an object whole; its bytes are known to hash to oid.
func (o objects) EncodedObject(typ plumbing.ObjectType, oid plumbing.Hash) (plumbing.EncodedObject, error) {
	want := ""
	if typ != plumbing.AnyObject {
		want = typ.String()
	}
	is, data, err := o.repo.read(o.ctx, want, fromGoGit(oid))
	if err != nil {
		return nil, err
	}
	found := &plumbing.MemoryObject{}
	if typ, err = plumbing.ParseObjectType(is); err != nil {
		return nil, err
	}
	found.SetType(typ)
	_, err = found.Write(data)
	return found, err
}

// HasEncodedObject is nil if an object has this oid.
func (o objects) HasEncodedObject(oid plumbing.Hash) error {
	_, err := o.EncodedObjectSize(oid)
	return err
}

// EncodedObjectSize gives an object's size in bytes, without its header.
func (o objects) EncodedObjectSize(oid plumbing.Hash) (int64, error) {
	found, err := o.EncodedObject(plumbing.AnyObject, oid)
	if err != nil {
		return 0, err
	}
	return found.Size(), nil
}

// NewEncodedObject gives an object in memory, which SetEncodedObject does not store.
func (objects) NewEncodedObject() plumbing.EncodedObject { return &plumbing.MemoryObject{} }

// SetEncodedObject is an error: nothing is written.
func (objects) SetEncodedObject(plumbing.EncodedObject) (plumbing.Hash, error) {
	return plumbing.ZeroHash, errReadOnly
}

// AddAlternate is an error: nothing is written.
func (objects) AddAlternate(string) error { return errReadOnly }

// IterEncodedObjects is an error: refship never reads all objects.
func (objects) IterEncodedObjects(plumbing.ObjectType) (storer.EncodedObjectIter, error) {
	return nil, errors.ErrUnsupported
}

func fromGoGit(hash plumbing.Hash) OID {
	oid, _ := ParseOID(hash.String()) // it is 40 hex digits
	return oid
}

// commit reads a commit.
func (r *Repository) commit(ctx context.Context, oid OID) (*Commit, error) {
	if len(oid.Bytes()) != len(plumbing.Hash{}) {
		return nil, fmt.Errorf("read commit %s: go-git reads SHA-1 commits only", oid)
	}
	c, err := object.GetCommit(objects{ctx, r}, plumbing.Hash(oid.Bytes()))
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("read commit %s: %w", oid, err)
	}
	found := &Commit{OID: oid, Tree: fromGoGit(c.TreeHash), Message: c.Message}
	if c.Author.Email != "" {
		found.Author = fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email)
	}
	for _, parent := range c.ParentHashes {
		found.Parents = append(found.Parents, fromGoGit(parent))
	}
	return found, nil
}
