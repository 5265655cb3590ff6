package deploy

import (
	"context"

	"refship/deploy/tree"
)

// Repository is a git repository to deploy from.
type Repository = tree.Repository

// OpenRepository opens the repository at a GIT_DIR; see tree.OpenRepository.
func OpenRepository(ctx context.Context, gitDir string, env []string) (*Repository, error) {
	return tree.OpenRepository(ctx, gitDir, env)
}
