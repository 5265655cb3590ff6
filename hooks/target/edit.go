package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/deploy/text"
)

// ConfigEdit is where a changed config is made, beside the config: git's own editing renames a file over it, and what is
// renamed over the config must be the very file that is locked.
const ConfigEdit = "config.refship"

// AddTarget writes t into the git config of the repository at gitDir, whole or not at all.
func AddTarget(ctx context.Context, gitDir string, t Target) error {
	err := changeTargets(ctx, gitDir, func(targets []Target, config func(...string) error) ([]Target, error) {
		want := append(targets, t)
		if err := CheckTargets(want); err != nil {
			return nil, err
		}
		return want, Write(t, config)
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
		if err := CheckTargets(targets); err != nil {
			return nil, err
		}
		return targets, Write(t, config)
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
		return slices.Delete(targets, at, at+1), config("--remove-section", Section+"."+name)
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
		remedy = "its targets: " + TargetNames(targets)
	}
	return 0, &fault.Error{Kind: fault.Refused, What: fmt.Sprintf("the repository has no target %q", text.Clip(name)), Remedy: remedy}
}

func TargetNames(targets []Target) string {
	var names []string
	for _, t := range targets {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}

// Write puts all settings of a target.
func Write(t Target, config func(...string) error) error {
	key := func(setting string) string { return Section + "." + t.Name + "." + setting }
	settings := [][2]string{{"ref", t.Ref}, {"namespace", string(t.Namespace)}, {"frontend", string(t.Frontend)}, {"path", t.Path}, {"check", t.Check}}
	for _, name := range record.SettingNames() {
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

// changeTargets edits the targets in the git config of a repository. edit gets the targets and what runs git config on a
// copy, and gives the targets that there must be afterwards.
func changeTargets(ctx context.Context, gitDir string, edit func([]Target, func(...string) error) ([]Target, error)) error {
	_, err := EditConfig(ctx, gitDir, func(string) {}, func(e *Edit) (err error) {
		e.Want = e.Rules
		e.Want.Targets, err = edit(slices.Clone(e.Rules.Targets), e.Config)
		return err
	})
	return err
}

// Edit is one change of a repository's git config, on a copy of it.
type Edit struct {
	Rules  Config                // what it says
	Text   []byte                // and how
	Copied string                // the copy's name
	Config func(...string) error // runs git config on the copy
	Want   Config                // what the copy must say in the end
}

// EditConfig edits the git config of a repository in git's own way: config.lock is made, filled and renamed. The config's
// mode, owner and group stay. An edit that changes no byte changes no file, and gives false. Whoever is killed meanwhile
// leaves the lock, as git does; the next edit removes it if it is old and has an old copy, which only this makes, beside it.
func EditConfig(ctx context.Context, gitDir string, step func(string), edit func(*Edit) error) (changed bool, err error) {
	config, err := filepath.EvalSymlinks(filepath.Join(gitDir, "config"))
	if err != nil {
		return false, fmt.Errorf("read the repository's config: %w", disk.WithoutDir(err))
	}
	e := &Edit{Copied: filepath.Join(filepath.Dir(config), ConfigEdit)}
	f, err := lockConfig(config, e.Copied)
	if err != nil {
		return false, err
	}
	renamed := false
	defer func() {
		defer f.Close()
		if !renamed && disk.IsAt(f) {
			removeCopies(e.Copied)
			os.Remove(f.Name())
		}
	}()
	removeCopies(e.Copied) // of an edit that died
	// Read under the lock: what another process added a moment ago counts.
	if e.Rules, err = ReadConfig(config); err != nil {
		return false, err
	}
	if e.Text, err = os.ReadFile(config); err != nil {
		return false, err
	}
	if err := os.WriteFile(e.Copied, e.Text, 0o600); err != nil {
		return false, err
	}
	e.Config = func(args ...string) error {
		_, err := git.Run(ctx, gitDir, append([]string{"config", "--file", e.Copied}, args...)...)
		return err
	}
	step("config-locked")
	if err := edit(e); err != nil {
		return false, err
	}
	renamed, err = e.replace(f, config)
	return renamed, err
}

// lockConfig makes config.lock, unless it is there; one that an edit of ours left when it died does not count.
func lockConfig(config, copied string) (*os.File, error) {
	lock := config + ".lock"
	f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) && isOld(lock) && isOld(copied) {
		removeCopies(copied)
		os.Remove(lock)
		f, err = os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s is being changed: %s exists", config, lock),
			Remedy: "try again; if no git command runs there, remove that file",
		}
	}
	return f, err
}

// isOld tells a file that is there for longer than an edit takes.
func isOld(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && time.Since(info.ModTime()) > MaxConfigEdit
}

// replace fills the locked file with the edited copy, if that says what it should, and renames it over the config.
func (e *Edit) replace(f *os.File, config string) (renamed bool, err error) {
	have, err := ReadConfig(e.Copied)
	if err != nil {
		return false, err
	}
	if slices.SortFunc(e.Want.Targets, byName); !have.equal(e.Want) {
		return false, &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("git config cannot change %s so that it has the targets %q: its sections are written in an unusual way", config, TargetNames(e.Want.Targets)),
			Remedy: "make the change by hand: git config --file " + config + " --edit",
		}
	}
	text, err := os.ReadFile(e.Copied)
	if err != nil || bytes.Equal(text, e.Text) {
		return false, err
	}
	removeCopies(e.Copied) // as long as the lock is held: afterwards they are somebody else's
	if err := keepMode(f, config); err != nil {
		return false, err
	}
	if _, err := f.Write(text); err != nil {
		return false, err
	}
	if err := f.Sync(); err != nil {
		return false, err
	}
	if !disk.IsAt(f) {
		return false, fmt.Errorf("somebody removed %s while it was held", f.Name())
	}
	if err := os.Rename(f.Name(), config); err != nil {
		return false, err
	}
	return true, disk.Sync(filepath.Dir(config))
}

// keepMode gives f the owner, group and mode of the file that it is to replace.
func keepMode(f *os.File, replaced string) error {
	have, err := f.Stat()
	if err != nil {
		return err
	}
	want, err := os.Stat(replaced)
	if err != nil {
		return err
	}
	is, be := have.Sys().(*syscall.Stat_t), want.Sys().(*syscall.Stat_t)
	if is.Uid != be.Uid || is.Gid != be.Gid {
		if err := f.Chown(int(be.Uid), int(be.Gid)); err != nil {
			return fmt.Errorf("keep owner and group: %w", err)
		}
	}
	return f.Chmod(want.Mode().Perm())
}

func removeCopies(copied string) {
	os.Remove(copied)
	os.Remove(copied + ".lock") // git's own, while it edits
}

// MaxConfigEdit is longer than a change of a git config takes: some milliseconds, and longer under load.
const MaxConfigEdit = 10 * time.Second
