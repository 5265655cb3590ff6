package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// Reasons of errors whose remedy is a command of refship.
const (
	// The earlier hook is gone. About the git directory.
	ReasonEarlierGone fault.Reason = "hooks-earlier-gone"
	// The repository belongs to another user. About its name, "install" or "uninstall", and the git directory.
	ReasonOwner fault.Reason = "hooks-owner"
	// The hooks have to be taken out and installed again. About the git directory.
	ReasonReinstall fault.Reason = "hooks-reinstall"
	// A push is not deployed yet. About the git directory, the ref and the target.
	ReasonUndeployed fault.Reason = "hooks-undeployed"
)

// Config is what an installed hook is to do.
type Config struct {
	Program  string          // absolute path of refship
	Settings target.Settings // what [refship] says afterwards, all of it
	Target   target.Target   // is added, or replaces the one of its name
	Log      *slog.Logger
}

// Change is what Install or Uninstall did.
type Change struct {
	Done     []string // in order, for reading; empty: all was as it should be
	Warnings []string
}

// Changed tells whether anything was changed.
func (c *Change) Changed() bool { return len(c.Done) > 0 }

// did tells of a change, unless it has failed.
func (c *Change) did(err error, format string, args ...any) error {
	if err == nil {
		c.Done = append(c.Done, fmt.Sprintf(format, args...))
	}
	return err
}

func (c *Change) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// Install puts refship's hooks into a repository beside those that are there, which go on running, and settings and
// target into its git config. Installing the same twice changes nothing; another program, or a script of another
// format, replaces only the installed scripts. If the process is killed meanwhile, pushes are either as before or
// handled by refship, and the next Install or Uninstall finishes. The Change is never nil.
//
// Errors are fault.Refused for what cannot or must not be changed; *EditedError for a script that was edited.
func Install(ctx context.Context, repo *Repository, cfg Config) (*Change, error) {
	change := new(Change)
	err := cfg.check(repo)
	if err == nil {
		err = install(ctx, repo, cfg, change)
	}
	if err != nil {
		return change, fmt.Errorf("install hooks: %w", err)
	}
	return change, nil
}

func (cfg *Config) check(repo *Repository) error {
	if err := repo.checkOwner("install"); err != nil {
		return err
	}
	if !filepath.IsAbs(cfg.Program) || strings.ContainsAny(cfg.Program, "\n\x00") {
		return fmt.Errorf("program %q is not an absolute path on one line", cfg.Program)
	}
	if info, err := os.Stat(cfg.Program); err != nil {
		return fmt.Errorf("look for the program: %w", err)
	} else if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fault.Refuse("install refship there, and make it executable", "%s cannot be run", cfg.Program)
	}
	switch {
	case cfg.Settings.Repository == "":
		return fault.Refuse("give it a name", "the repository has no name for records")
	case len(cfg.Settings.Endpoints) == 0:
		return fault.Refuse("give etcd's endpoints", "hooks would not know where etcd is")
	}
	return cfg.Target.Validate()
}

func install(ctx context.Context, repo *Repository, cfg Config, change *Change) (err error) {
	mode, err := git.SharedMode(repo.GitDir)
	if err != nil {
		return err
	}
	made, unlock, err := makeHooksDir(ctx, repo.HooksDir, mode)
	if err != nil {
		return fmt.Errorf("make the directory of hooks: %w", err)
	}
	defer unlock()
	if made {
		change.Done = append(change.Done, "made "+repo.HooksDir)
		defer func() {
			if err != nil {
				os.Remove(repo.HooksDir) // if it is still empty
			}
		}()
	}
	s, err := inspect(repo, repo.HooksDir)
	if err != nil {
		return err
	}
	if err := s.mayInstall(); err != nil {
		return err
	}
	r := newRun(ctx, s, change, cfg.Log)
	r.want, r.mode, r.made = &cfg, mode, made
	if err := r.make(r.plan(ctx)); err != nil {
		return err
	}
	r.warnAfterInstall()
	return nil
}

// makeHooksDir makes the directory of hooks, if it does not exist, and locks it.
func makeHooksDir(ctx context.Context, dir string, mode fs.FileMode) (made bool, unlock func(), err error) {
	for range 10 {
		if made, err = disk.Mkdir(dir, mode); err != nil {
			return made, nil, err
		}
		unlock, err = lockHooksDir(ctx, dir)
		if !errors.Is(err, fs.ErrNotExist) { // else it was removed with the last hook in it
			break
		}
	}
	return made, unlock, err
}

func lockHooksDir(ctx context.Context, dir string) (unlock func(), err error) {
	return intent.LockDir(ctx, dir, "another refship hook changes "+dir)
}

// mayInstall says why nothing can be installed.
func (s *state) mayInstall() error {
	if s.installed != nil {
		dir := resolve(s.repo.GitDir, s.installed.Hooks)
		if !sameDir(dir, s.dir) && !isGone(filepath.Join(dir, manifestName)) { // else it was moved, or is gone
			return &fault.Error{
				Kind: fault.Refused,
				What: fmt.Sprintf("hooks of %s are installed in %s, and git looks for them in %s now",
					s.repo.GitDir, dir, s.dir),
				Reason: ReasonReinstall, About: []string{s.repo.GitDir},
			}
		}
	}
	for _, h := range s.hooks() {
		if err := h.conflict(s.manifest); err != nil {
			return err
		}
		if err := h.mayInstall(s.repo); err != nil {
			return err
		}
	}
	return nil
}

// mayInstall says why nothing can be installed here, where there is no conflict.
func (h *hook) mayInstall(repo *Repository) error {
	switch dir := filepath.Dir(h.at.path); {
	case h.lostEarlier():
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s is gone, which %s is to run first", h.aside.path, h.at.path),
			Reason: ReasonEarlierGone, About: []string{repo.GitDir},
		}
	case h.notRun:
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("nothing runs %s: %s does not run the hooks in %s",
				h.at.path, strings.TrimSuffix(dir, dispatchSuffix), dir),
			Reason: ReasonReinstall, About: []string{repo.GitDir},
		}
	case h.at.kind == foreign && runsSiblings(h.at.text):
		return fault.Refuse("let another hook run those: with gitolite, take option hook."+h.name+
			" out of its configuration and call them from a hook in LOCAL_CODE/hooks/common",
			"%s runs the hooks beside it whose names begin with its own ($0.…), and would find none under "+
				"another name; gitolite writes such a hook for repository %s", h.at.path, repo.Name())
	case h.unsure:
		return fault.Refuse("if it does, let it say so: for hook in \"$0.d\"/*; "+
			"if it does not, remove that directory, or make nothing in it executable",
			"it cannot be told whether %s runs the hooks in %s%s", h.at.path, h.at.path, dispatchSuffix)
	case h.at.kind == foreign && h.at.mode.IsDir():
		return fault.Refuse("git runs no such hook: move it away", "%s is a directory", h.at.path)
	}
	return nil
}

// warnAfterInstall warns of what may surprise.
func (r *run) warnAfterInstall() {
	for _, h := range r.hooks() {
		if h.inDispatcher() {
			r.warnOfLater(h)
		} else if earlier := h.earlier(); earlier != nil && usesName(earlier.text) {
			r.warn("the earlier hook %s uses $0, and is run under the name %s now: look whether it still does "+
				"what it should", h.name, filepath.Base(h.aside.path))
		}
	}
	if r.mode&0o020 != 0 { // the repository's group may push
		for _, path := range r.want.Settings.Secrets() {
			if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o040 == 0 {
				r.warn("others of the repository's group may push, and cannot read %s: their pushes are refused; "+
					"chmod g+r %s if the file has that group", path, text.Quote(path))
			}
		}
	}
	path := r.repo.HooksPath
	if r.repo.HooksScope == "global" {
		r.warn("core.hooksPath = %s is in your own configuration: pushes by other users do not run these hooks", path)
	}
	worktrees, err := os.ReadDir(filepath.Join(r.repo.GitDir, "worktrees"))
	if err == nil && len(worktrees) > 0 && path != "" && !filepath.IsAbs(path) {
		r.warn("core.hooksPath = %s is relative: pushes to the linked worktrees of this repository look for hooks "+
			"elsewhere, and run none of these", path)
	}
}

// warnOfLater names what a dispatcher runs after refship's hook, and could still refuse.
func (r *run) warnOfLater(h *hook) {
	dir := filepath.Dir(h.at.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		r.warn("%v", err)
	}
	for _, e := range entries {
		if e.Name() > dispatched {
			r.warn("%s runs after refship's hook", filepath.Join(dir, e.Name()))
		}
	}
}
