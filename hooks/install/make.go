package install

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// removeLeftovers removes the temporary files of a run that was killed.
func (r *run) removeLeftovers() error {
	paths := []string{installationPath(r.repo.GitDir), r.manifestPath()}
	for _, h := range r.hooks() {
		paths = append(paths, h.at.path, h.aside.path)
	}
	for _, path := range paths {
		if err := disk.RemoveTemporary(path); err != nil {
			return err
		}
	}
	return nil
}

func (s *state) manifestPath() string { return filepath.Join(s.dir, manifestName) }

func (r *run) writeManifest(m *manifest) error {
	return writeState(r.manifestPath(), m, git.Readable(r.dirMode))
}

// leaveManifest takes the repository out of the manifest. The last one removes it, and a directory that install made.
func (r *run) leaveManifest() error {
	if len(r.others) > 0 {
		m := *r.manifest
		m.Repositories = r.others
		return r.did(r.writeManifest(&m), "the hooks in %s stay for %s", r.dir, strings.Join(r.others, ", "))
	}
	if err := r.did(disk.Remove(r.manifestPath()), "removed %s", r.manifestPath()); err != nil {
		return err
	}
	if r.manifest.Made {
		r.step("hooks-directory")
		os.Remove(r.dir) // if it is empty
	}
	return nil
}

// writeScript puts a script where there is no other hook, or the earlier one has its second name already.
func (r *run) writeScript(h *hook, script string, mode fs.FileMode) error {
	verb := "made"
	if h.at.kind == ours {
		verb = "renewed"
	}
	return r.did(disk.WriteFile(h.at.path, []byte(script), mode), "%s %s", verb, h.at.path)
}

// setAside puts a script in the place of another hook, which gets a second name, so that at no moment neither is
// there. The second name for the same file comes first, then the script is renamed over the first name. Where the
// system allows no second name (a file that belongs to another user: fs.protected_hardlinks), both names are exchanged
// in one step.
func (r *run) setAside(h *hook, script string, mode fs.FileMode) error {
	temporary, err := disk.WriteTemporary(h.at.path, []byte(script), mode)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	switch err = os.Link(h.at.path, h.aside.path); {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported):
		err = exchange(h.at.path, h.aside.path, temporary, r.step)
	case err == nil:
		if err = disk.Sync(r.dir); err == nil {
			r.step(h.name + "-linked")
			err = disk.Rename(temporary, h.at.path)
		}
	}
	if err := r.did(err, "the hook %s is now %s, and runs first", h.at.path, filepath.Base(h.aside.path)); err != nil {
		return err
	}
	return r.did(nil, "made %s", h.at.path)
}

// exchange is the way without a second name: the script is at aside first, where nothing runs it.
func exchange(hook, aside, temporary string, step func(string)) error {
	if err := disk.Rename(temporary, aside); err != nil {
		return err
	}
	step(filepath.Base(hook) + "-aside")
	err := disk.Swap(hook, aside)
	if failed := (*os.LinkError)(nil); errors.As(err, &failed) { // then aside still is the script
		os.Remove(aside)
	}
	return err
}

// editConfig puts settings and target into the git config, or takes all of refship's sections out.
func (r *run) editConfig(ctx context.Context) (err error) {
	edit, what := r.takeSections, "took refship's settings and targets out of %s"
	if r.want != nil {
		edit, what = r.putSections, "wrote settings and targets into %s"
		defer func() {
			if err != nil && r.installed == nil {
				pending := intent.Dir(r.repo.GitDir)
				os.Remove(installationPath(r.repo.GitDir))
				os.Remove(pending) // if it is empty
				os.Remove(filepath.Dir(pending))
			}
		}()
	}
	changed, err := target.EditConfig(ctx, r.repo.GitDir, r.step, edit)
	if !changed {
		return err
	}
	return r.did(err, what, r.configPath())
}

func (s *state) configPath() string { return filepath.Join(s.repo.GitDir, "config") }

// putSections adds what is wanted, and then writes down what the config was before.
func (r *run) putSections(e *target.Edit) error {
	want := target.Config{Settings: r.want.Settings, Targets: []target.Target{r.want.Target}}
	for _, t := range e.Have.Targets {
		if t.Name != r.want.Target.Name {
			want.Targets = append(want.Targets, t)
		}
	}
	if err := e.Set(want); err != nil {
		return err
	}
	// What could not be taken out again is not put in.
	before, ok := target.WithoutSections(e.Before)
	after, okAfter := target.WithoutSections(e.After)
	if !ok || !okAfter || !bytes.Equal(before, after) && !bytes.Equal(slices.Concat(before, []byte("\n")), after) {
		return fault.Refuse("put each section and setting on a line of its own: git config --edit",
			"%s is written in an unusual way, so that refship's sections could not be taken out again", r.configPath())
	}
	if err := want.Settings.CheckFiles(); err != nil {
		return err
	}
	hooks, _ := names(r.repo.GitDir, r.dir)
	newline := len(before) == 0 || bytes.HasSuffix(before, []byte("\n"))
	state := &installation{
		Format: manifestFormat, Hooks: hooks,
		Config: configBefore{SHA256: sumOf(string(before)), Newline: newline},
	}
	if r.installed != nil && !bytes.Equal(before, e.Before) { // it has sections already
		state.Config = r.installed.Config
	}
	if err := intent.MakeDir(r.repo.GitDir, r.mode); err != nil {
		return err
	}
	if err := writeState(installationPath(r.repo.GitDir), state, git.Readable(r.mode)); err != nil {
		return err
	}
	r.step("recorded")
	return nil
}

// takeSections gives the config its earlier text, but for what others have changed.
func (r *run) takeSections(e *target.Edit) error {
	rest, ok := target.WithoutSections(e.Before)
	if !ok {
		return fault.Refuse("take them out by hand: git config --file "+text.Quote(r.configPath())+" --edit",
			"the refship sections of %s cannot be told from the others: it is written in an unusual way",
			r.configPath())
	}
	// Git ends the last line before it begins a section.
	if before, had := bytes.CutSuffix(rest, []byte("\n")); had && r.installed != nil && !r.installed.Config.Newline &&
		sumOf(string(before)) == r.installed.Config.SHA256 {
		rest = before
	}
	e.SetText(rest)
	return nil
}

// scratchDir is where the checks of installed hooks run, below <GIT_DIR>/refship.
const scratchDir = "checks"

// removePending removes intents that promise nothing: half-written ones, and those of pushes that git has refused.
func (r *run) removePending() error {
	pending := intent.Dir(r.repo.GitDir)
	entries, err := os.ReadDir(pending)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if disk.IsTemporary(e.Name()) || strings.HasSuffix(e.Name(), intent.Suffix) {
			os.Remove(filepath.Join(pending, e.Name()))
		}
	}
	os.Remove(pending)
	return nil
}

// removeState removes the rest of what refship keeps in the git directory, but for files that it does not know.
func (r *run) removeState() error {
	path := installationPath(r.repo.GitDir)
	own := filepath.Dir(path)
	if isGone(own) {
		return nil
	}
	_ = disk.RemoveAll(filepath.Join(own, scratchDir)) // what is left is told below
	if err := disk.Remove(path); err != nil {
		return err
	}
	os.Remove(own)
	if err := disk.Sync(r.repo.GitDir); err != nil {
		return err
	}
	if !isGone(own) {
		r.warn("%s stays: there are files in it that refship does not know, or could not read as promises", own)
		return nil
	}
	return r.did(nil, "removed %s", own)
}
