package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"refship/deploy/disk"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/target"
)

// plannedHook is a script that is to be at a place.
type plannedHook struct {
	*hookState
	text   []byte
	mode   fs.FileMode
	record *manifestHook
}

// installHooks writes manifest and scripts.
func (i *installer) installHooks(made bool) error {
	m := &manifest{Format: manifestFormat}
	if i.manifest != nil {
		*m = *i.manifest
		m.Hooks = slices.Clone(m.Hooks)
	}
	m.Program, m.Made = i.cfg.Program, m.Made || made // who made it may not be the first to hold it
	if i.installed && !i.isKnown() {
		m.Repositories = m.moved(i.dir)
	}
	m.Repositories = append(m.without(i.dir, i.home.GitDir), pathFrom(i.dir, i.home.GitDir, isInside(i.home.GitDir, i.dir)))
	slices.Sort(m.Repositories)
	info, err := os.Stat(i.dir)
	if err != nil {
		return err
	}
	var plans []*plannedHook
	for _, s := range i.hooks {
		p, err := s.plan(i.cfg.Program, git.Executable(info.Mode().Perm()))
		if err != nil {
			return fmt.Errorf("look at hook %s: %w", s.name, err)
		}
		plans = append(plans, p)
		m.setHook(p.record)
		if s.at.kind == ours && !bytesEqualSum(s.at.text, p.record.SHA256) {
			between := *p.record
			between.SHA256 = append([]string{sumOf(s.at.text)}, p.record.SHA256...)
			m.setHook(&between)
		}
	}
	if err := i.writeManifest(m, "install-manifest", git.Readable(info.Mode().Perm())); err != nil {
		return err
	}
	for _, p := range plans {
		if err := i.installHook(p); err != nil {
			return fmt.Errorf("install hook %s: %w", p.name, err)
		}
	}
	for _, p := range plans {
		m.setHook(p.record)
	}
	i.warnings()
	return i.writeManifest(m, "install-manifest-last", git.Readable(info.Mode().Perm()))
}

func bytesEqualSum(data []byte, sums []string) bool { return slices.Contains(sums, sumOf(data)) }

func (i *installer) writeManifest(m *manifest, step string, mode fs.FileMode) error {
	changed, err := writeState(filepath.Join(i.dir, manifestName), m, mode)
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if changed {
		i.step(step)
	}
	return nil
}

// plan says what is to be there.
func (s *hookState) plan(program string, mode fs.FileMode) (*plannedHook, error) {
	p := &plannedHook{hookState: s, mode: mode, record: &manifestHook{Name: s.name, File: s.at.file}}
	earlier := s.aside
	switch {
	case s.inDispatcher():
		earlier = place{}
	case s.at.kind == foreign:
		earlier = s.at
	case !s.hasEarlier():
		earlier = place{}
	}
	if earlier.kind != absent {
		var err error
		if p.record.Earlier, err = earlier.describe(); err != nil {
			return nil, err
		}
		if s.at.kind == ours && s.record != nil && s.record.Earlier != nil {
			p.record.Earlier = s.record.Earlier // what it was when it was set aside
		}
	}
	p.text = []byte(script(program, s.name, p.record.Earlier != nil))
	p.record.SHA256 = []string{sumOf(p.text)}
	return p, nil
}

// installHook puts one script in its place, unless it is there.
func (i *installer) installHook(p *plannedHook) error {
	s := p.hookState
	if err := disk.RemoveTemporary(s.at.path); err != nil { // of an install that died
		return err
	}
	switch {
	case s.at.kind == ours && slices.Contains(p.record.SHA256, sumOf(s.at.text)) && s.at.info.Mode().Perm() == p.mode:
		return nil
	case s.at.kind != foreign:
		i.step("install-" + s.name)
		if err := disk.WriteFile(s.at.path, p.text, p.mode); err != nil {
			return err
		}
	default:
		if err := i.putBefore(p); err != nil {
			return err
		}
		i.change.did("the hook %s is now %s, and runs first", s.at.path, filepath.Base(s.aside.path))
	}
	verb := "made"
	if s.at.kind == ours {
		verb = "renewed"
	}
	i.change.did("%s %s", verb, s.at.path)
	i.step("installed-" + s.name)
	return nil
}

// putBefore puts our script in the place of somebody's hook.
func (i *installer) putBefore(p *plannedHook) error {
	s := p.hookState
	i.step("install-" + s.name)
	if s.linked() || s.relinked() {
		return disk.WriteFile(s.at.path, p.text, p.mode)
	}
	if s.aside.kind == ours { // of an exchange that did not come about
		if err := disk.Remove(s.aside.path); err != nil {
			return err
		}
	}
	return setAside(s.at.path, s.aside.path, p.text, p.mode, i.step)
}

// warnings say what works otherwise than one may think.
func (i *installer) warnings() {
	for _, s := range i.hooks {
		earlier := s.aside
		if s.at.kind == foreign {
			earlier = s.at
		}
		if !s.inDispatcher() && earlier.kind == foreign && argumentZero.Match(earlier.text) {
			i.change.warn("the earlier hook %s uses $0, and is run under the name %s now: look whether it still does what it should", s.name, filepath.Base(s.aside.path))
		}
		if s.inDispatcher() {
			i.warnAfter(s)
		}
	}
	i.warnGroup()
	if i.home.HooksScope == "global" {
		i.change.warn("core.hooksPath = %s is in your own configuration: pushes by other users do not run these hooks", i.home.HooksPath)
	}
	worktrees, err := os.ReadDir(filepath.Join(i.home.GitDir, "worktrees"))
	if err == nil && len(worktrees) > 0 && i.home.HooksPath != "" && !filepath.IsAbs(i.home.HooksPath) {
		i.change.warn("core.hooksPath = %s is relative: pushes to the linked worktrees of this repository look for hooks elsewhere, and run none of these", i.home.HooksPath)
	}
}

// warnGroup names the secrets that those of the repository's group who may push cannot read.
func (i *installer) warnGroup() {
	if i.mode&0o020 == 0 {
		return
	}
	r, err := target.ReadConfig(filepath.Join(i.home.GitDir, "config"))
	if err != nil {
		return // it was written a moment ago
	}
	for _, path := range []string{r.Settings.Key, r.Settings.PasswordFile, r.Settings.SigningKey} {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o040 == 0 {
			i.change.warn("others of the repository's group may push, and cannot read %s: their pushes are refused; chmod g+r %s if the file has that group", path, text.Quote(path))
		}
	}
}

// warnAfter names what a dispatcher runs after our hook, and could still refuse.
func (i *installer) warnAfter(s *hookState) {
	entries, err := os.ReadDir(filepath.Dir(s.at.path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		i.change.warn("%v", err)
	}
	for _, e := range entries {
		if e.Name() > dispatched {
			i.change.warn("%s runs after refship's hook", filepath.Join(filepath.Dir(s.at.path), e.Name()))
		}
	}
}
