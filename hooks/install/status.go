package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"refship/hooks/target"
)

// HookState says how an installed hook is.
type HookState string

// How a hook is.
const (
	HookCurrent     HookState = "current"
	HookMissing     HookState = "missing"      // none is installed
	HookOutdated    HookState = "outdated"     // it is for another program, of another format, or not executable
	HookEdited      HookState = "edited"       // it was changed since
	HookReplaced    HookState = "replaced"     // another hook is in its place, or nothing runs it
	HookProgramGone HookState = "program gone" // it is current, and what it runs does not exist
	HookEarlierGone HookState = "earlier gone" // the hook that it is to run first does not exist
)

// Hook is one hook of a repository.
type Hook struct {
	Name    string
	Path    string // of the script
	State   HookState
	Problem error  // what is wrong, with a remedy; nil where nothing is, or none is installed
	Earlier string // the hook that runs before, "" if there is none
}

// Status is what a repository has of refship.
type Status struct {
	Effective bool     // git looks for hooks there
	Program   string   // what the hooks run, "" if none are installed
	Hooks     []Hook   // pre-receive, post-receive
	Shared    []string // other repositories that use the same hooks
	Config    target.Config
	ConfigErr error // why Config cannot be read
}

// Complete tells whether pushes are handled as they should be, as far as hooks and config go.
func (s *Status) Complete() bool {
	for _, h := range s.Hooks {
		if h.State != HookCurrent {
			return false
		}
	}
	return s.Effective && s.ConfigErr == nil && len(s.Config.Targets) > 0
}

// Inspect says what a repository has of refship, and changes nothing. program is the refship that hooks should run; ""
// is whatever they run.
func Inspect(repo *Repository, program string) (*Status, error) {
	dir, err := installedDir(repo)
	if err != nil {
		return nil, fmt.Errorf("inspect hooks: %w", err)
	}
	s, err := inspect(repo, dir)
	if err != nil {
		return nil, fmt.Errorf("inspect hooks: %w", err)
	}
	found := &Status{Effective: sameDir(dir, repo.HooksDir)}
	found.Config, found.ConfigErr = target.Read(repo.GitDir)
	if s.manifest != nil {
		found.Program = s.manifest.Program
	}
	for _, r := range s.manifest.without(dir, repo.GitDir) {
		found.Shared = append(found.Shared, resolve(dir, r))
	}
	for _, h := range []*hook{s.pre, s.post} {
		one := Hook{Name: h.name, Path: h.at.path}
		if h.isSetAside() {
			one.Earlier = h.aside.path
		}
		one.State, one.Problem = h.status(s.manifest, program)
		found.Hooks = append(found.Hooks, one)
	}
	return found, nil
}

func (h *hook) status(m *manifest, program string) (HookState, error) {
	runs := scriptProgram(h.at.text)
	if program == "" {
		program = runs
	}
	problem := h.conflict(m)
	switch {
	case h.at.kind == edited:
		return HookEdited, problem
	case h.at.kind == foreign && problem != nil:
		return HookReplaced, problem
	case h.at.kind == foreign && h.record != nil && !h.isEarlier():
		return HookReplaced, nil
	case h.at.kind != ours:
		return HookMissing, nil
	case h.notRun:
		return HookReplaced, nil
	case h.lostEarlier():
		return HookEarlierGone, nil
	case !canRun(runs):
		return HookProgramGone, nil
	case h.at.text != script(program, h.name, wantsEarlier(h.at.text)) || h.at.mode.Perm()&0o100 == 0:
		return HookOutdated, nil
	}
	return HookCurrent, nil
}

// isEarlier: the hook still is, or is again, the one that was there before refship's.
func (h *hook) isEarlier() bool {
	return h.hasBothNames() || h.record.Earlier != nil && h.at.is == *h.record.Earlier
}

// canRun tells whether a script can run its program; one that cannot be looked at may exist.
func canRun(program string) bool {
	info, err := os.Stat(program)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	return info.Mode().IsRegular() && info.Size() > 0 && info.Mode().Perm()&0o111 != 0
}
