package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refship/deploy"
)

// configEdit is where a changed config is made, beside the config: git's own editing renames a file over it, and what is
// renamed over the config must be the very file that is locked.
const configEdit = "config.refship"

// AddTarget writes t into the git config of the repository at gitDir, whole or not at all.
func AddTarget(ctx context.Context, gitDir string, t Target) error {
	err := changeTargets(ctx, gitDir, func(targets []Target, config func(...string) error) ([]Target, error) {
		want := append(targets, t)
		if err := checkTargets(want); err != nil {
			return nil, err
		}
		return want, write(t, config)
	})
	if err != nil {
		return fmt.Errorf("add target: %w", err)
	}
	return nil
}

// SetTarget replaces the target of that name in the git config of the repository at gitDir, whole or not at all.
func SetTarget(ctx context.Context, gitDir string, t Target) error {
	err := changeTargets(ctx, gitDir, func(targets []Target, config func(...string) error) ([]Target, error) {
		at, err := findTarget(targets, t.Name)
		if err != nil {
			return nil, err
		}
		targets[at] = t
		if err := checkTargets(targets); err != nil {
			return nil, err
		}
		return targets, write(t, config)
	})
	if err != nil {
		return fmt.Errorf("set target: %w", err)
	}
	return nil
}

// RemoveTarget takes a target out of the git config of the repository at gitDir, whole or not at all. What it deployed
// stays in etcd.
func RemoveTarget(ctx context.Context, gitDir, name string) error {
	err := changeTargets(ctx, gitDir, func(targets []Target, config func(...string) error) ([]Target, error) {
		at, err := findTarget(targets, name)
		if err != nil {
			return nil, err
		}
		return slices.Delete(targets, at, at+1), config("--remove-section", section+"."+name)
	})
	if err != nil {
		return fmt.Errorf("remove target: %w", err)
	}
	return nil
}

// findTarget gives the place of the target of that name.
func findTarget(targets []Target, name string) (int, error) {
	at := slices.IndexFunc(targets, func(t Target) bool { return t.Name == name })
	if at >= 0 {
		return at, nil
	}
	remedy := "there is no target yet: refship repo target add REPO NAME makes one"
	if len(targets) > 0 {
		remedy = "its targets: " + targetNames(targets)
	}
	return 0, &deploy.RefusedError{What: fmt.Sprintf("the repository has no target %q", clip([]byte(name))), Remedy: remedy}
}

func targetNames(targets []Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

// write puts all settings of a target.
func write(t Target, config func(...string) error) error {
	key := func(setting string) string { return section + "." + t.Name + "." + setting }
	settings := [][2]string{{"ref", t.Ref}, {"namespace", string(t.Namespace)}, {"frontend", string(t.Frontend)}, {"path", t.Path}, {"check", t.Check}}
	for _, name := range deploy.SettingNames() {
		settings = append(settings, [2]string{name, t.Settings.Text()[name]})
	}
	for _, s := range settings {
		name, value := key(s[0]), s[1]
		if err := config("--replace-all", name, value); err != nil {
			return err
		}
		if value != "" {
			continue
		}
		// Unsetting what is not there is an error of git's: so it was set first.
		if err := config("--unset-all", name); err != nil {
			return err
		}
	}
	return nil
}

// changeTargets edits the git config of a repository in git's own way: config.lock is made, filled and renamed. edit gets
// the targets and what runs git config on a copy, and gives the targets that there must be afterwards.
func changeTargets(ctx context.Context, gitDir string, edit func([]Target, func(...string) error) ([]Target, error)) (err error) {
	config, copied := filepath.Join(gitDir, "config"), filepath.Join(gitDir, configEdit)
	lock := config + ".lock"
	f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &deploy.RefusedError{
			What:   fmt.Sprintf("%s is being changed: %s exists", config, lock),
			Remedy: "try again; if no git command runs there, remove that file",
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		defer f.Close()
		if err != nil && isStill(f) {
			removeCopies(copied)
			os.Remove(lock)
		}
	}()
	removeCopies(copied) // of an edit that died
	// Read under the lock: what another process added a moment ago counts.
	targets, err := ReadTargets(ctx, gitDir)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		return err
	}
	want, err := edit(targets, func(args ...string) error {
		_, err := git(ctx, gitDir, append([]string{"config", "--file", copied}, args...)...)
		return err
	})
	if err != nil {
		return err
	}
	return replaceConfig(f, config, copied, want)
}

// replaceConfig fills the locked file with the edited copy, if that says what it should, and renames it over the config.
func replaceConfig(f *os.File, config, copied string, want []Target) error {
	have, err := readTargets(copied)
	if err != nil {
		return err
	}
	if slices.SortFunc(want, byName); !slices.Equal(have, want) {
		return &deploy.RefusedError{
			What:   fmt.Sprintf("git config cannot change %s so that it has the targets %q: its sections are written in an unusual way", config, targetNames(want)),
			Remedy: "make the change by hand: git config --file " + config + " --edit",
		}
	}
	text, err := os.ReadFile(copied)
	if err != nil {
		return err
	}
	removeCopies(copied) // as long as the lock is held: afterwards they are somebody else's
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if !isStill(f) {
		return fmt.Errorf("somebody removed %s while it was held", f.Name())
	}
	if err := os.Rename(f.Name(), config); err != nil {
		return err
	}
	return syncFile(filepath.Dir(config))
}

func removeCopies(copied string) {
	os.Remove(copied)
	os.Remove(copied + ".lock") // git's own, while it edits
}

// isStill tells whether a file is the one that its name leads to.
func isStill(f *os.File) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(mine, there)
}
