package deploy

import (
	"context"
	"errors"
	"io"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/tree"
)

// Source is where a deploy's directories and contents come from: a *Repository or a *Directory.
type Source interface {
	Tree(oid tree.OID) ([]tree.Entry, error)
	Blobs(ctx context.Context, oids []tree.OID, fn func(i int, size int64, content io.Reader) error) error
}

// Repository is a git repository to deploy from.
type Repository = tree.Repository

// OpenRepository opens the repository at a GIT_DIR; see tree.OpenRepository.
func OpenRepository(ctx context.Context, gitDir string, env []string) (*Repository, error) {
	return tree.OpenRepository(ctx, gitDir, env)
}

// Directory is a plain directory to deploy.
type Directory = tree.Directory

// ReadDirectory reads a directory; see tree.ReadDirectory. What cannot be deployed of it is a fault.Refused.
func ReadDirectory(
	ctx context.Context, dir string, exclude []string, progress func(files int, bytes int64),
) (*Directory, error) {
	d, err := tree.ReadDirectory(ctx, dir, exclude, progress)
	return d, refuseTree(err)
}

// refuseTree makes a refusal of an error about the tree: its remedy is in the repository. Trouble with git or etcd
// stays what it is.
func refuseTree(err error) error {
	var (
		odd   *tree.TreeError
		plain *tree.DirectoryError
		large *tree.TooLargeError
		unfit *mgmt.Error
	)
	switch {
	case errors.As(err, &odd):
		return &fault.Error{Kind: fault.Refused, What: err.Error(), Remedy: odd.Hint()}
	case errors.As(err, &plain):
		return &fault.Error{Kind: fault.Refused, What: plain.Error(), Remedy: plain.Hint()}
	case errors.As(err, &large):
		return &fault.Error{
			Kind: fault.Refused, What: err.Error(),
			Remedy: "make it smaller: fewer entries in one directory, a shorter commit message",
		}
	case errors.As(err, &unfit):
		return &fault.Error{Kind: fault.Refused, What: unfit.Error(), Remedy: unfit.Hint()}
	}
	return err
}
