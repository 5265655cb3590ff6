package install

import (
	"context"
	"io/fs"
	"log/slog"
	"slices"

	"refship/deploy/disk"
	"refship/deploy/git"
)

// run is one install, upgrade or uninstall.
type run struct {
	*state
	*Change
	want    *Config           // nil: uninstall
	mode    fs.FileMode       // of directories that an install makes in the repository
	made    bool              // an install has made the directory of hooks
	others  []string          // that an uninstall leaves the hooks to
	intents func() error      // says which intent an uninstall would break
	step    func(name string) // tests stop the run there
}

func newRun(ctx context.Context, s *state, change *Change, log *slog.Logger) *run {
	return &run{state: s, Change: change, step: func(name string) { log.DebugContext(ctx, "step", "at", name) }}
}

// step is one change on disk, or a look at what may have changed. Between two steps each push is handled as before, or
// by refship.
type step struct {
	name string
	make func() error
}

// plan gives the steps from what is there to what is wanted.
func (r *run) plan(ctx context.Context) []step {
	leftovers := step{"leftovers", r.removeLeftovers}
	config := step{"config", func() error { return r.editConfig(ctx) }}
	if r.want != nil {
		between, last := r.manifests()
		return slices.Concat(
			[]step{leftovers, config, {"manifest", func() error { return r.writeManifest(between) }}},
			r.planHook(r.post),
			r.planHook(r.pre),
			[]step{{"manifest-last", func() error { return r.writeManifest(last) }}},
		)
	}
	plan := []step{leftovers}
	if len(r.others) == 0 {
		plan = slices.Concat(plan, r.planHook(r.pre), []step{{"intents", r.intents}}, r.planHook(r.post))
	}
	plan = append(plan, config, step{"pending", r.removePending}, step{"state", r.removeState})
	if r.manifest != nil {
		plan = append(plan, step{"manifest", r.leaveManifest})
	}
	return plan
}

// make makes the steps of a plan, up to the first that fails.
func (r *run) make(plan []step) error {
	for _, s := range plan {
		r.step(s.name)
		if err := s.make(); err != nil {
			return err
		}
	}
	r.step("end")
	return nil
}

// planHook puts a script in its place, or takes it out.
func (r *run) planHook(h *hook) []step {
	var plan []step
	add := func(name string, do func() error) { plan = append(plan, step{name, do}) }
	remove := func(f file) {
		add(f.name, func() error { return r.did(disk.Remove(f.path), "removed %s", f.path) })
	}
	// An install that dies may leave the earlier hook with both names, or the script where nothing runs it.
	unused := h.hasBothNames() || !h.inDispatcher() && h.aside.kind == ours
	if r.want != nil {
		switch text, mode := r.script(h), git.Executable(r.dirMode); {
		case h.at.kind == ours && h.at.text == text && h.at.mode.Perm() == mode:
		case h.at.kind == foreign && !h.hasBothNames():
			if unused {
				remove(h.aside)
			}
			add(h.name, func() error { return r.setAside(h, text, mode) })
		default:
			add(h.name, func() error { return r.writeScript(h, text, mode) })
		}
		return plan
	}
	if h.lostEarlier() {
		r.warn("%s is gone, which ran before refship's hook: now there is no hook %s", h.aside.path, h.name)
	}
	switch {
	case h.isSetAside():
		add(h.name, func() error {
			return r.did(disk.Rename(h.aside.path, h.at.path), "%s is again the hook that was there before", h.at.path)
		})
	case h.at.kind == ours:
		remove(h.at)
	}
	if unused {
		remove(h.aside)
	}
	return plan
}

// script is the text that a hook is to have.
func (r *run) script(h *hook) string { return script(r.want.Program, h.name, h.earlier() != nil) }

// manifests are the one while scripts are replaced, which knows the old and the new ones, and the one afterwards.
func (r *run) manifests() (between, last *manifest) {
	had := new(manifest)
	if r.manifest != nil {
		*had = *r.manifest
	}
	if r.installed != nil && !slices.ContainsFunc(had.Repositories, r.isThis) {
		had.Repositories = had.withoutMoved(r.dir)
	}
	_, gitDir := names(r.repo.GitDir, r.dir)
	last = &manifest{
		Format: manifestFormat, Program: r.want.Program,
		Made:         had.Made || r.made, // the run that made it may not be the first that locks it
		Repositories: append(had.without(r.dir, r.repo.GitDir), gitDir),
	}
	slices.Sort(last.Repositories)
	copied := *last
	between = &copied
	for _, h := range r.hooks() {
		entry := manifestHook{Name: h.name, File: h.at.name, SHA256: []string{sumOf(r.script(h))}}
		if earlier := h.earlier(); earlier != nil {
			entry.Earlier = &earlier.is
			if h.isSetAside() && h.record != nil && h.record.Earlier != nil {
				entry.Earlier = h.record.Earlier // as it was when it was set aside
			}
		}
		both := entry
		if h.at.kind == ours && h.at.is.SHA256 != entry.SHA256[0] {
			both.SHA256 = []string{h.at.is.SHA256, entry.SHA256[0]}
		}
		last.Hooks, between.Hooks = append(last.Hooks, &entry), append(between.Hooks, &both)
	}
	return between, last
}
