package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Uninstall takes out what Install put in: scripts, earlier hooks get their names back, all refship sections leave the
// git config, and what refship keeps in the repository goes. If nothing else changed them, hooks and config have
// the bytes and modes that they had before. Hooks stay where another repository uses the same directory. Uninstalling
// where nothing is installed changes nothing. The Change is never nil.
//
// Errors are fault.Refused, also while a promise to publish is not kept, and *EditedError.
func Uninstall(ctx context.Context, repo *Repository, log *slog.Logger) (*Change, error) {
	change := new(Change)
	if err := uninstall(ctx, repo, log, change); err != nil {
		return change, fmt.Errorf("uninstall hooks: %w", err)
	}
	return change, nil
}

func uninstall(ctx context.Context, repo *Repository, log *slog.Logger, change *Change) error {
	if err := repo.checkOwner("uninstall"); err != nil {
		return err
	}
	dir, err := installedDir(repo)
	if err != nil {
		return err
	}
	switch unlock, err := lockHooksDir(ctx, dir); {
	case err == nil:
		defer unlock()
	case !errors.Is(err, fs.ErrNotExist): // without the directory there are no hooks
		return err
	}
	s, err := inspect(repo, dir)
	if err != nil {
		return err
	}
	for _, h := range s.hooks() {
		if err := h.conflict(s.manifest); err != nil {
			return err
		}
	}
	if !s.isKnown() {
		return nil // the refship sections of its config, if it has any, are a server's
	}
	leave, err := intent.AwaitPushes(ctx, repo.GitDir)
	if err != nil {
		return err
	}
	defer leave()
	targets, err := target.ReadTargets(repo.GitDir)
	if err != nil {
		return err // they could not be taken out; and without hooks pushes would go on in silence
	}
	r := newRun(ctx, s, change, log)
	r.intents = func() error { return checkIntents(ctx, repo.GitDir, targets) }
	if err := r.intents(); err != nil {
		return err
	}
	r.others = s.manifest.without(dir, repo.GitDir)
	if err := s.checkOthers(r.others); err != nil {
		return err
	}
	return r.make(r.plan(ctx))
}

// checkOthers refuses to leave hooks behind for repositories none of which exists: no uninstall could take them out.
// To take them out now would let a repository that was moved, or whose disk is not mounted, go on without them in
// silence.
func (s *state) checkOthers(others []string) error {
	exists := func(r string) bool { return !isGone(resolve(s.dir, r)) }
	if len(others) == 0 || slices.ContainsFunc(others, exists) {
		return nil
	}
	return fault.Refuse("if it was moved, install its hooks again first; "+
		"if it is gone for good, take it out of the repositories in "+s.manifestPath()+"; then try again",
		"the hooks in %s are also those of %s, which does not exist", s.dir, resolve(s.dir, others[0]))
}

// checkIntents refuses while there is an intent whose ref is where the push wanted it, or still may get there: without
// settings and intents it would never be published. targets are those of the repository.
func checkIntents(ctx context.Context, gitDir string, targets []target.Target) error {
	for in, err := range intent.All(gitDir) {
		var bad *intent.Bad
		switch {
		case errors.As(err, &bad):
			return fault.Refuse("look at it, and put it aside: "+
				"mv "+text.Quote(bad.Path)+" "+text.Quote(bad.Path+intent.BadSuffix),
				"%s cannot be read, and may be a promise to deploy: %v", bad.Path, bad.Err)
		case err != nil:
			return err
		}
		for _, entry := range in.Deploys {
			if !slices.ContainsFunc(targets, entry.Target.Same) {
				continue // the target is gone: it would not be published
			}
			if err := checkPromise(ctx, gitDir, in, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkPromise(ctx context.Context, gitDir string, in *intent.Intent, entry intent.Entry) error {
	t, commit := entry.Target, entry.New.String()[:7] // as git shortens it
	now, err := git.ReadRef(ctx, gitDir, t.Ref)
	if err != nil {
		return err
	}
	switch {
	case now == entry.New:
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("a push by %s of %s to %s is not deployed yet into %s",
				in.Pusher.Name, commit, t.Ref, t.Namespace),
			Reason: ReasonUndeployed, About: []string{gitDir, t.Ref, t.Name},
		}
	case in.MayRun(now == entry.Old):
		return fault.Refuse("try again when it has ended",
			"a push by %s to %s began %s and may still run", in.Pusher.Name, t.Ref, text.Age(time.Since(in.Time)))
	}
	return nil
}
