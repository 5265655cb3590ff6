package git

import (
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"refship/deploy/tree"
)

func fromGoGit(hash plumbing.Hash) OID {
	oid, _ := ParseOID(hash.String()) // it is 40 hex digits
	return oid
}

// decode makes sense of a commit's text. go-git, whose oids have 20 bytes and appear in this file and nowhere else, does
// it where they are SHA-1, and package tree where they are SHA-256. go-git takes a line for a tree or a parent wherever
// it is, and git does not: a commit that the two read as different ones is refused.
func decode(oid OID, data []byte) (*Commit, error) {
	parsed, err := tree.ParseCommit(data, oid.Format())
	if err != nil {
		return nil, badCommit(oid, err)
	}
	found := &Commit{OID: oid, Tree: parsed.Tree, Parents: parsed.Parents, Author: tree.Person(parsed.Author),
		Message: parsed.Message}
	encoding := parsed.Encoding
	if oid.Format() == tree.FormatSHA1 {
		c := &object.Commit{}
		raw := &plumbing.MemoryObject{}
		raw.SetType(plumbing.CommitObject)
		_, _ = raw.Write(data) // to memory
		if err := c.Decode(raw); err != nil {
			return nil, fmt.Errorf("read commit %s: %w", oid, err)
		}
		sameParents := slices.EqualFunc(c.ParentHashes, parsed.Parents, func(a plumbing.Hash, b OID) bool {
			return fromGoGit(a) == b
		})
		if fromGoGit(c.TreeHash) != parsed.Tree || !sameParents {
			return nil, badCommit(oid, errors.New("its tree or parents are named where git names none"))
		}
		found.Message, found.Author, encoding = c.Message, "", string(c.Encoding)
		if c.Author.Email != "" {
			found.Author = fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email)
		}
	}
	toUTF8(encoding, &found.Message)
	toUTF8(encoding, &found.Author)
	return found, nil
}
