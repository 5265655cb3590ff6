package upkeep

import (
	"context"
	"path/filepath"

	"refship/deploy/disk"
)

// Pause keeps each Keeper, of any process, from working on the repository at dir until resume is called: its files are
// only added to meanwhile, so that they can be copied while pushes run. It waits for the work that is being done. A
// Keeper that wants to begin then tries again later. The kernel ends the pause with the process.
func Pause(ctx context.Context, dir string) (resume func(), err error) {
	return disk.LockDir(ctx, objects(dir))
}

// objects is the directory that an upkeep has locked, shared, and a pause alone.
func objects(dir string) string { return filepath.Join(dir, "objects") }
