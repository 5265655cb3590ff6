package intent

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"

	"refship/deploy/git"
	"refship/hooks/target"
)

// Left is one entry of an intent that a push left.
type Left struct {
	Intent *Intent
	Entry  Entry
}

// Find finds the entries of a ref update: first those of the git receive-pack that this process belongs to, then the
// newest. Another hook may have refused the same push before, or refuse it to another pusher right now. A file that is
// no intent is passed over.
func Find(gitDir string, t target.Target, u git.RefUpdate) ([]Left, error) {
	var all []Left
	for in, err := range All(gitDir) {
		var bad *Bad
		switch {
		case errors.As(err, &bad):
			continue
		case err != nil:
			return nil, err
		}
		for _, entry := range in.Deploys {
			if entry.Target.Same(t) && entry.Old == u.Old && entry.New == u.New {
				all = append(all, Left{in, entry})
			}
		}
	}
	own := ReceivePack()
	others := func(l Left) int {
		if own != "" && l.Intent.Process == own {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b Left) int {
		return cmp.Or(others(a)-others(b), b.Intent.Time.Compare(a.Intent.Time), cmp.Compare(a.Intent.Push, b.Intent.Push))
	})
	return all, nil
}

// DropLeft is Drop of the intent as it stands on disk: another process may have worked on it, too.
func (in *Intent) DropLeft(gitDir, target string) error {
	fresh, err := Read(gitDir, in.Push)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fresh.Drop(gitDir, target)
}
