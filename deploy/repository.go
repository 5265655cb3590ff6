package deploy

import (
	"context"

	"refship/deploy/git"
)

// Repository is a git repository to deploy from.
type Repository = git.Repository

// OpenRepository opens the repository at a GIT_DIR; see git.OpenRepository.
func OpenRepository(ctx context.Context, gitDir string, env []string) (*Repository, error) {
	return git.OpenRepository(ctx, gitDir, env)
}
