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
	"syscall"
	"time"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
)

// ConfigEdit is the name of the copy that an edit works on, beside the config. What is renamed over the config must be
// the very file that is locked, and git's own edit renames another file over the one that it changes.
const ConfigEdit = "config.refship"

// MaxConfigEdit is longer than an edit of a git config takes: some milliseconds, and longer under load.
const MaxConfigEdit = 10 * time.Second

// AddTarget writes t into the git config of the repository at gitDir, whole or not at all.
func AddTarget(ctx context.Context, gitDir string, t Target) error {
	return editTargets(ctx, gitDir, "add target", func(targets []Target) ([]Target, error) {
		return append(targets, t), CheckRefs(t, targets)
	})
}

// SetTarget replaces the target of that name in the git config of the repository at gitDir, whole or not at all.
func SetTarget(ctx context.Context, gitDir string, t Target) error {
	return editTargets(ctx, gitDir, "set target", func(targets []Target) ([]Target, error) {
		was, err := Find("the repository", targets, t.Name)
		if err == nil && was.Ref != t.Ref {
			err = CheckRefs(t, targets)
		}
		if err == nil {
			targets[index(targets, t.Name)] = t
		}
		return targets, err
	})
}

// RemoveTarget takes a target out of the git config of the repository at gitDir, whole or not at all. What it deployed
// stays in etcd.
func RemoveTarget(ctx context.Context, gitDir, name string) error {
	return editTargets(ctx, gitDir, "remove target", func(targets []Target) ([]Target, error) {
		_, err := Find("the repository", targets, name)
		return slices.DeleteFunc(targets, func(t Target) bool { return t.Name == name }), err
	})
}

// Set lets change say what the settings of all targets shall be, in the git config of the repository at gitDir.
func Set(ctx context.Context, gitDir string, change func(*Settings)) error {
	_, err := EditConfig(ctx, gitDir, func(string) {}, func(e *Edit) error {
		want := Config{Settings: e.Have.Settings, Targets: slices.Clone(e.Have.Targets)}
		change(&want.Settings)
		return e.Set(want)
	})
	if err != nil {
		return fmt.Errorf("set: %w", err)
	}
	return nil
}

// SetFsck says what git makes of a flaw in what is pushed to the repository at gitDir: see git.CheckFsck. An empty
// level is git's own.
func SetFsck(ctx context.Context, gitDir, id, level string) error {
	_, err := EditConfig(ctx, gitDir, func(string) {}, func(e *Edit) error { return e.setGit(git.FsckKey(id), level) })
	if err != nil {
		return fmt.Errorf("set fsck: %w", err)
	}
	return nil
}

// editTargets lets change say what the targets shall be.
func editTargets(ctx context.Context, gitDir, what string, change func([]Target) ([]Target, error)) error {
	_, err := EditConfig(ctx, gitDir, func(string) {}, func(e *Edit) (err error) {
		want := Config{Settings: e.Have.Settings}
		if want.Targets, err = change(slices.Clone(e.Have.Targets)); err != nil {
			return err
		}
		return e.Set(want)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Edit is one change of a repository's git config, on a copy of it and under its lock.
type Edit struct {
	Have   Config // what the config says
	Before []byte // its text
	After  []byte // the text that it gets; that of before until Set or SetText is called

	want   Config // what After must say
	copied string // the copy's name
	config func(args ...string) error
}

// Set makes the config say what is wanted. Git writes it, and leaves alone what says so already.
func (e *Edit) Set(want Config) error {
	if want.sort(); want.equal(e.Have) {
		return nil
	}
	if err := want.Validate(); err != nil {
		return err
	}
	if err := write(e.config, configSection+".", plainSettings, e.Have.Settings, want.Settings); err != nil {
		return err
	}
	for _, t := range want.Targets {
		var had Target
		if at := index(e.Have.Targets, t.Name); at >= 0 {
			had = e.Have.Targets[at]
		}
		if err := write(e.config, configSection+"."+t.Name+".", targetSettings, had, t); err != nil {
			return err
		}
	}
	for _, t := range e.Have.Targets {
		if index(want.Targets, t.Name) >= 0 {
			continue
		}
		if err := e.config("--remove-section", configSection+"."+t.Name); err != nil {
			return err
		}
	}
	after, err := disk.ReadFile(e.copied, MaxConfig)
	e.want, e.After = want, after
	return err
}

// setGit makes a setting of git's own say what is wanted; "" takes it out.
func (e *Edit) setGit(key, value string) (err error) {
	if value != "" {
		err = e.config("--replace-all", key, value)
	} else if err = e.config("--get", key); err == nil {
		err = e.config("--unset-all", key)
	} else {
		return nil // it is not there
	}
	if err == nil {
		e.After, err = disk.ReadFile(e.copied, MaxConfig)
	}
	return err
}

// SetText makes text the config, which must have no refship section.
func (e *Edit) SetText(text []byte) { e.want, e.After = Config{}, text }

// EditConfig edits the git config of the repository at gitDir as git does. The config's mode, owner and group stay. An
// edit that changes no byte changes no file, and gives false. step is called where tests want to stop it.
func EditConfig(
	ctx context.Context, gitDir string, step func(string), edit func(*Edit) error,
) (changed bool, err error) {
	config, err := filepath.EvalSymlinks(filepath.Join(gitDir, "config"))
	if err != nil {
		return false, fmt.Errorf("read the repository's config: %w", disk.WithoutDir(err))
	}
	copied := filepath.Join(filepath.Dir(config), ConfigEdit)
	lock, err := lockConfig(config, copied)
	if err != nil {
		return false, err
	}
	defer func() {
		defer lock.Close()
		if !changed && disk.IsAt(lock) {
			removeCopies(copied)
			os.Remove(lock.Name())
		}
	}()
	removeCopies(copied) // of an edit that died
	// Read under the lock: what another process added a moment ago counts.
	text, err := disk.ReadFile(config, MaxConfig)
	if err != nil {
		return false, err
	}
	have, err := parse(text)
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(copied, text, 0o600); err != nil {
		return false, err
	}
	e := &Edit{Have: have, Before: text, After: text, want: have, copied: copied, config: func(args ...string) error {
		_, err := git.Run(ctx, gitDir, append([]string{"config", "--file", copied}, args...)...)
		return err
	}}
	step("config-locked")
	if err := edit(e); err != nil {
		return false, err
	}
	if err := e.check(config); err != nil || bytes.Equal(e.After, e.Before) {
		return false, err
	}
	removeCopies(copied) // as long as the lock is held: afterwards they are another edit's
	return replace(config, lock, e.After)
}

// check compares what the new text says with what it should say.
func (e *Edit) check(config string) error {
	says, err := parse(e.After)
	if err == nil && !says.equal(e.want) {
		err = fault.Refuse("make the change by hand: git config --file "+text.Quote(config)+" --edit",
			"git config cannot change %s so that it has the targets %q: its sections are written in an unusual way",
			config, Names(e.want.Targets))
	}
	return err
}

// lockConfig makes config.lock, unless it exists; one that an edit of refship's left when it died does not count.
func lockConfig(config, copied string) (*os.File, error) {
	path := config + ".lock"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) && isOld(path) && isOld(copied) {
		removeCopies(copied)
		os.Remove(path)
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, fault.Refuse("try again; if no git command runs there, remove that file",
			"%s is being changed: %s exists", config, path)
	}
	return f, err
}

// isOld tells a file that has existed for longer than an edit takes.
func isOld(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && time.Since(info.ModTime()) > MaxConfigEdit
}

// replace fills the lock file and renames it over the config.
func replace(config string, lock *os.File, text []byte) (done bool, err error) {
	if err := keepMode(lock, config); err != nil {
		return false, err
	}
	if _, err := lock.Write(text); err != nil {
		return false, err
	}
	if err := lock.Sync(); err != nil {
		return false, err
	}
	if !disk.IsAt(lock) {
		return false, fmt.Errorf("another process removed %s while it was held", lock.Name())
	}
	if err := os.Rename(lock.Name(), config); err != nil {
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
