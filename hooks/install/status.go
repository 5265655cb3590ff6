package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"refship/deploy/git"
	"refship/hooks/target"
)

// HookState says how an installed hook stands.
type HookState string

// How a hook stands.
const (
	HookCurrent     HookState = "current"
	HookMissing     HookState = "missing"      // there is none of ours
	HookOutdated    HookState = "outdated"     // ours, for another program or of another format, or not to be executed
	HookEdited      HookState = "edited"       // somebody changed it
	HookReplaced    HookState = "replaced"     // somebody's hook is where ours was, or it is run by nobody
	HookProgramGone HookState = "program gone" // it is current, and what it runs is not there
	HookEarlierGone HookState = "earlier gone" // the hook that it is to run first is not there
)

// InstalledHook is one hook of a repository.
type InstalledHook struct {
	Name          string
	Path          string // of our script
	State         HookState
	Problem       error  // what is wrong, with a Hint; nil where nothing is, or nothing of ours is there
	Earlier       string // the hook that runs before, "" if there is none
	EarlierEdited bool   // it is not what it was when it was set aside
}

// Installed is what a repository has of refship.
type Installed struct {
	HooksDir  string // where hooks are installed, or would be
	Effective bool   // git looks for hooks there
	Program   string // what the hooks run, "" if none are installed
	Hooks     []InstalledHook
	Shared    []string // other repositories that use the same hooks
	Settings  target.Settings
	Targets   []target.Target
	Config    error // why settings and targets cannot be read
}

// Complete tells whether pushes are handled as they should be, as far as hooks and config go.
func (i *Installed) Complete() bool {
	for _, h := range i.Hooks {
		if h.State != HookCurrent {
			return false
		}
	}
	return i.Effective && i.Config == nil && len(i.Targets) > 0
}

// Inspect says what a repository has of refship, and changes nothing. program is the refship that hooks should run; "" is
// whatever they run.
func Inspect(_ context.Context, home *Repository, program string) (*Installed, error) {
	found := &Installed{HooksDir: home.HooksDir, Effective: true}
	installed, err := readInstallation(home.GitDir)
	if err != nil {
		return nil, fmt.Errorf("inspect hooks: %w", err)
	}
	if installed != nil {
		found.HooksDir = resolve(home.GitDir, installed.Hooks)
		found.Effective = sameDir(found.HooksDir, home.HooksDir)
	}
	r, err := target.ReadConfig(filepath.Join(home.GitDir, "config"))
	found.Settings, found.Targets, found.Config = r.Settings, r.Targets, err
	m, err := readManifest(found.HooksDir)
	if err != nil {
		return nil, fmt.Errorf("inspect hooks: %w", err)
	}
	if m != nil {
		found.Program = m.Program
		for _, r := range m.without(found.HooksDir, home.GitDir) {
			found.Shared = append(found.Shared, resolve(found.HooksDir, r))
		}
	}
	for _, name := range []string{git.PreReceive, git.PostReceive} {
		s, err := look(found.HooksDir, name, m)
		if err != nil {
			return nil, fmt.Errorf("inspect hook %s: %w", name, err)
		}
		h, err := s.inspect(m, program)
		if err != nil {
			return nil, fmt.Errorf("inspect hook %s: %w", name, err)
		}
		found.Hooks = append(found.Hooks, h)
	}
	return found, nil
}

// inspect says how one hook stands.
func (s *hookState) inspect(m *manifest, program string) (InstalledHook, error) {
	h := InstalledHook{Name: s.name, Path: s.at.path, State: HookCurrent}
	if s.hasEarlier() {
		h.Earlier = s.aside.path
		if s.record != nil && s.record.Earlier != nil {
			now, err := s.aside.describe()
			if err != nil {
				return h, err
			}
			h.EarlierEdited = *now != *s.record.Earlier
		}
	}
	runs := scriptProgram(string(s.at.text))
	if program == "" {
		program = runs
	}
	switch problem := s.conflict(m); {
	case s.at.kind == edited:
		h.State, h.Problem = HookEdited, problem
	case s.at.kind == foreign && (problem != nil || s.record != nil && !s.linked() && !s.relinked() && !s.isEarlier()):
		h.State, h.Problem = HookReplaced, problem
	case s.at.kind != ours:
		h.State = HookMissing
	case s.deaf:
		h.State = HookReplaced
	case s.lostEarlier():
		h.State = HookEarlierGone
	case isGone(runs):
		h.State = HookProgramGone
	case string(s.at.text) != script(program, s.name, wantsEarlier(string(s.at.text))) || s.at.info.Mode().Perm()&0o100 == 0:
		h.State = HookOutdated
	}
	return h, nil
}

// isGone tells whether a hook cannot run its program; one that cannot be looked at may be there.
func isGone(program string) bool {
	info, err := os.Stat(program)
	if err != nil {
		return !errors.Is(err, fs.ErrPermission)
	}
	return !info.Mode().IsRegular() || info.Size() == 0 || info.Mode().Perm()&0o111 == 0
}

// isEarlier: the hook is still, or again, the one that was there before ours.
func (s *hookState) isEarlier() bool {
	if s.record == nil || s.record.Earlier == nil {
		return false
	}
	now, err := s.at.describe()
	return err == nil && *now == *s.record.Earlier
}
