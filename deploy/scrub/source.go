package scrub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// source makes what etcd should have of a repository.
type source struct {
	repo  *git.Repository
	fits  *record.Deploy          // the head that check has passed
	known map[tree.OID]tree.Entry // size and sha256 of contents, and of directories' node texts
}

// check tells whether the repository holds what a head deployed.
func (g *source) check(head *record.Deploy, repository string) error {
	r := head.Record
	if head.Hash.IsTree() {
		return errors.New("the head is a plain directory, which no repository holds")
	}
	commit, err := g.repo.Commit(head.Hash.OID())
	if errors.Is(err, git.ErrNotFound) {
		return fmt.Errorf("repository %s does not have the head's commit %s", repository, head.Hash.Short())
	}
	if err != nil {
		return err
	}
	at, _, err := g.repo.TreeAt(commit, r.Path)
	if err != nil {
		return err
	}
	if at != r.Tree {
		return fmt.Errorf("commit %s has the tree %s there, the head's record names %s", head.Hash.Short(), at, r.Tree)
	}
	return nil
}

// node makes a directory's node text, of git's tree and all that is below it.
func (g *source) node(ctx context.Context, oid tree.OID) ([]byte, error) {
	entries, err := g.repo.Tree(oid)
	if err != nil {
		return nil, err
	}
	node := &tree.Node{Entries: entries}
	if err := g.learn(ctx, entries); err != nil {
		return nil, err
	}
	for i := range entries {
		if e := &entries[i]; e.Mode != filemode.Submodule {
			known := g.known[e.OID]
			e.Size, e.SHA256 = known.Size, known.SHA256
		}
	}
	return node.Text(), nil
}

// learn makes all entries known.
func (g *source) learn(ctx context.Context, entries []tree.Entry) error {
	var blobs []tree.OID
	for _, e := range entries {
		_, known := g.known[e.OID]
		switch {
		case known || e.Mode == filemode.Submodule:
		case e.Mode == filemode.Dir:
			text, err := g.node(ctx, e.OID)
			if err != nil {
				return err
			}
			g.known[e.OID] = tree.Entry{OID: e.OID, Size: int64(len(text)), SHA256: sha256.Sum256(text)}
		default:
			blobs = append(blobs, e.OID)
		}
	}
	return g.repo.Blobs(ctx, blobs, func(i int, size int64, r io.Reader) error {
		sum := tree.NewContentHash(blobs[i].Format(), size)
		if _, err := io.Copy(sum, r); err != nil {
			return err
		}
		if sum.OID() != blobs[i] {
			return fmt.Errorf("read blob %s: %w", blobs[i], git.ErrCorrupt)
		}
		g.known[blobs[i]] = tree.Entry{OID: blobs[i], Size: size, SHA256: sum.SHA256()}
		return nil
	})
}

// differs says how what git has differs from what the head's tree names; nil if it does not.
func differs(what string, has, named tree.Entry) error {
	if has.Size == named.Size && has.SHA256 == named.SHA256 {
		return nil
	}
	return fmt.Errorf("git's %s has %d bytes of sha256 %s, %d of %s were deployed",
		what, has.Size, has.SHA256, named.Size, named.SHA256)
}
