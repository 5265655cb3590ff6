package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Uninstall takes out what Install put in: scripts, earlier hooks get their names back, all refship sections leave the git
// config, and what refship keeps in the repository goes. If nobody changed them otherwise, hooks and config have the bytes
// and modes that they had before. Hooks stay where another repository uses the same directory. Uninstalling where nothing
// is installed changes nothing.
//
// Errors are fault.Refused, also while a promise to publish is not kept, and *EditedError.
func Uninstall(ctx context.Context, home *Repository, log *slog.Logger) (*Change, error) {
	dir := home.HooksDir
	if err := home.checkOwner("uninstall"); err != nil {
		return nil, fmt.Errorf("uninstall hooks: %w", err)
	}
	installed, err := readInstallation(home.GitDir)
	if err != nil {
		return nil, fmt.Errorf("uninstall hooks: %w", err)
	}
	if installed != nil {
		dir = resolve(home.GitDir, installed.Hooks)
	}
	i := newInstaller(ctx, home, dir, InstallConfig{Log: log})
	if err := i.uninstall(ctx, installed); err != nil {
		return i.change, fmt.Errorf("uninstall hooks: %w", err)
	}
	return i.change, nil
}

func (i *installer) uninstall(ctx context.Context, installed *installation) error {
	unlock, err := intent.LockDir(ctx, i.dir, "another refship hook changes "+i.dir)
	there := true
	switch {
	case errors.Is(err, fs.ErrNotExist):
		there = false
	case err != nil:
		return err
	default:
		defer unlock()
		if err := i.look(); err != nil {
			return err
		}
	}
	if installed == nil && !i.isKnown() {
		return nil // the refship sections of its config, if it has any, are a server's
	}
	leave, err := intent.AwaitPushes(ctx, i.home.GitDir)
	if err != nil {
		return err
	}
	defer leave()
	if err := i.checkPromises(ctx); err != nil {
		return err
	}
	var others []string
	if i.manifest != nil {
		others = i.manifest.without(i.dir, i.home.GitDir)
		if err := i.checkOthers(others); err != nil {
			return err
		}
	}
	if there && len(others) == 0 {
		if err := i.removeHooks(ctx); err != nil {
			return err
		}
	}
	if err := i.removeConfig(ctx, installed); err != nil {
		return err
	}
	if err := i.removeState(); err != nil {
		return err
	}
	if i.manifest == nil {
		return nil
	}
	return i.removeManifest(others)
}

// checkOthers refuses to leave hooks behind that nobody could take out: for repositories none of which is there. To take
// them out all the same would let one that was moved, or whose disk is not mounted, go on without them in silence.
func (i *installer) checkOthers(others []string) error {
	for _, r := range others {
		if _, err := os.Stat(resolve(i.dir, r)); !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if len(others) == 0 {
		return nil
	}
	return &fault.Error{
		Kind: fault.Refused,
		What: fmt.Sprintf("the hooks in %s are also those of %s, which is not there", i.dir, resolve(i.dir, others[0])),
		Remedy: fmt.Sprintf("where it was moved, run refship hook install there first; if it is gone for good, take it out of the repositories in %s; then try again",
			filepath.Join(i.dir, manifestName)),
	}
}

// isKnown tells whether hooks are installed for this repository, where installed.json does not say so any more.
func (i *installer) isKnown() bool {
	if i.manifest != nil {
		return slices.ContainsFunc(i.manifest.Repositories, func(r string) bool { return resolve(i.dir, r) == i.home.GitDir })
	}
	return slices.ContainsFunc(i.hooks, func(s *hookState) bool { return s.at.kind == ours })
}

// removeHooks takes out pre-receive, after which nothing is promised any more, and then what keeps promises.
func (i *installer) removeHooks(ctx context.Context) error {
	for n, s := range slices.Backward(i.hooks) {
		if err := i.removeHook(s); err != nil {
			return fmt.Errorf("take out hook %s: %w", s.name, err)
		}
		if n == 0 {
			break
		}
		if err := i.checkPromises(ctx); err != nil {
			return err
		}
	}
	return nil
}

// removeHook takes out one script, and gives the earlier hook its name back.
func (i *installer) removeHook(s *hookState) error {
	for _, file := range []string{s.at.path, s.aside.path} { // of one that died
		if err := disk.RemoveTemporary(file); err != nil {
			return err
		}
	}
	if s.stray.kind == ours {
		if err := disk.Remove(s.stray.path); err != nil {
			return err
		}
	}
	if s.lostEarlier() {
		i.change.warn("%s is gone, which ran before refship's hook: there is no hook %s any more", s.aside.path, s.name)
	}
	switch {
	case s.hasEarlier():
		i.step("uninstall-" + s.name)
		if err := disk.Rename(s.aside.path, s.at.path); err != nil {
			return err
		}
		i.change.did("%s is again the hook that was there before", s.at.path)
	case s.at.kind == ours:
		i.step("uninstall-" + s.name)
		if err := disk.Remove(s.at.path); err != nil {
			return err
		}
		i.change.did("removed %s", s.at.path)
	case s.linked() || s.relinked() || !s.inDispatcher() && s.aside.kind == ours: // of an install that died
		i.step("uninstall-" + s.name)
		if err := disk.Remove(s.aside.path); err != nil {
			return err
		}
		i.change.did("removed %s", s.aside.path)
	default:
		return nil
	}
	i.step("uninstalled-" + s.name)
	return nil
}

// removeConfig takes the refship sections out.
func (i *installer) removeConfig(ctx context.Context, installed *installation) error {
	config := filepath.Join(i.home.GitDir, "config")
	changed, err := target.EditConfig(ctx, i.home.GitDir, i.step, func(e *target.Edit) error {
		rest, ok := target.WithoutSections(e.Text)
		if !ok {
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("the refship sections of %s cannot be told from the others: it is written in an unusual way", config),
				Remedy: "take them out by hand: git config --file " + text.Quote(config) + " --edit",
			}
		}
		if before, had := bytes.CutSuffix(rest, []byte("\n")); had && installed != nil && !installed.Config.Newline && sumOf(before) == installed.Config.SHA256 {
			rest = before // git added it, to begin a section
		}
		return os.WriteFile(e.Copied, rest, 0o600)
	})
	if err != nil {
		return err
	}
	if changed {
		i.change.did("took refship's settings and targets out of %s", config)
		i.step("uninstall-config")
	}
	return nil
}

// removeState removes what refship keeps in the git directory, but for what it could not read.
func (i *installer) removeState() error {
	pending := intent.Dir(i.home.GitDir)
	own := filepath.Dir(pending)
	if _, err := os.Lstat(own); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, err := os.ReadDir(pending)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if disk.IsTemporary(e.Name()) || strings.HasSuffix(e.Name(), intent.Suffix) {
			os.Remove(filepath.Join(pending, e.Name())) // half-written, or of a push that git has refused
		}
	}
	os.Remove(pending)
	_ = disk.RemoveAll(filepath.Join(own, scratchDir)) // what is left is told below
	if err := disk.RemoveTemporary(installationPath(i.home.GitDir)); err != nil {
		return err
	}
	i.step("uninstall-state")
	if err := disk.Remove(installationPath(i.home.GitDir)); err != nil {
		return err
	}
	os.Remove(own)
	if err := disk.Sync(i.home.GitDir); err != nil {
		return err
	}
	if _, err := os.Lstat(own); err == nil {
		i.change.warn("%s stays: there are files in it that refship does not know, or could not read as promises", own)
	} else {
		i.change.did("removed %s", own)
	}
	i.step("uninstalled-state")
	return nil
}

// removeManifest takes the repository out of the manifest; the last one takes it with it, and a directory that install made.
func (i *installer) removeManifest(others []string) error {
	path := filepath.Join(i.dir, manifestName)
	if len(others) > 0 {
		i.change.did("the hooks in %s stay for %s", i.dir, strings.Join(others, ", "))
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		m := *i.manifest
		m.Repositories = others
		return i.writeManifest(&m, "uninstall-manifest", info.Mode().Perm())
	}
	if err := disk.RemoveTemporary(path); err != nil {
		return err
	}
	i.step("uninstall-manifest")
	if err := disk.Remove(path); err != nil {
		return err
	}
	i.change.did("removed %s", path)
	i.step("uninstalled-manifest")
	if i.manifest.Made {
		os.Remove(i.dir) // if it is empty
	}
	return nil
}

// checkPromises refuses while there is an intent whose ref is where the push wanted it, or still may get there: to take
// settings and intents away would break it off.
func (i *installer) checkPromises(ctx context.Context) error {
	pushes, err := intent.List(i.home.GitDir)
	if err != nil {
		return err
	}
	targets, err := target.ReadTargets(i.home.GitDir)
	if err != nil {
		return err // nor could they be taken out; and without hooks pushes would go on in silence
	}
	for _, push := range pushes {
		in, err := intent.Read(i.home.GitDir, push)
		var bad *intent.Bad
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.As(err, &bad):
			return &fault.Error{
				Kind:   fault.Refused,
				What:   fmt.Sprintf("%s cannot be read, and may be a promise to deploy: %v", bad.Path, bad.Err),
				Remedy: fmt.Sprintf("look at it, and put it aside: mv %s %s", text.Quote(bad.Path), text.Quote(bad.Path+intent.BadSuffix)),
			}
		case err != nil:
			return err
		}
		for _, w := range in.Deploys {
			if !slices.Contains(targets, w.Target) {
				continue // nobody would publish it any more
			}
			if err := i.checkPromise(ctx, in, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i *installer) checkPromise(ctx context.Context, in *intent.Intent, w intent.Entry) error {
	now, err := git.ReadRef(ctx, i.home.GitDir, w.Target.Ref)
	if err != nil {
		return err
	}
	switch {
	case now == w.New:
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("a push by %s of %s to %s is not deployed yet into %s",
				in.Pusher.Name, record.Hash(w.New.String()).Short(), w.Target.Ref, w.Target.Namespace),
			Remedy: fmt.Sprintf("deploy it, then try again: refship deploy --repo %s --rev %s --target %s",
				text.Quote(i.home.GitDir), text.Quote(w.Target.Ref), w.Target.Name),
		}
	case in.MayRun(now == w.Old):
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("a push by %s to %s began %s and may still run", in.Pusher.Name, w.Target.Ref, text.Age(time.Since(in.Time))),
			Remedy: "try again when it has ended",
		}
	}
	return nil
}
