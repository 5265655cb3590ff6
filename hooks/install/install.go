// Installed hooks.
//
// # On disk
//
// In the directory where git looks for hooks (core.hooksPath, or hooks in the git directory; H below), for pre-receive and
// post-receive:
//
//	H/N                    a short script for sh, which becomes PROGRAM hook run --hook N [--earlier H/N.before-refship] -- ARGUMENT…
//	H/N.before-refship     the hook that was at H/N: the same file under another name, run by refship before its own work
//	H/N.d/zz-refship       the script, where H/N runs what is in H/N.d (a dispatcher): then H/N stays, and there is no earlier one
//	H/refship.json         the manifest: format, program, sha256 of each script, what the earlier hooks were like, and which
//	                       repositories use H, since several may share it
//	.NAME.*.refship-tmp    what is about to be renamed to NAME
//
// In the repository:
//
//	<GIT_DIR>/config                  [refship] and [refship "<target>"]
//	<GIT_DIR>/refship/installed.json  where H is, and what the config was like without our sections
//	<GIT_DIR>/refship/pending/        intents
//
// A script finds the earlier hook beside itself, and both JSON files name what lies in the git directory from there on: a
// repository can be moved.
//
// # Order
//
// Install:    installed.json, config, manifest, post-receive, pre-receive, manifest without what was replaced
// Uninstall:  pre-receive, (look for intents again,) post-receive, config, repository's refship directory, manifest
//
// Each is one rename, after which file and directory are synced. pre-receive is the switch: without it nothing is
// prepared or promised, and a push is what it was. It comes last, when all that it and post-receive need is there, and
// goes first, while post-receive still is there to keep the promises made. So whoever runs as post-receive must let a
// push without an intent pass in silence, and whoever runs as either must let the pushes to a repository without
// refship's settings pass, after the earlier hook: H may be shared, and the config goes before a shared H does.
//
// A pre-receive, and a deploy by hand, hold a shared flock(2) on <GIT_DIR>/refship, and an uninstall an exclusive one: what is
// being promised is seen by the uninstall, and what runs there is not taken away beneath it.
//
// At each moment H/N is the earlier hook or ours, whole: the earlier one gets its second name by link(2), and then ours is
// renamed over the first; to take ours out, the second name is renamed over the first.
//
// What runs as --hook N gets --earlier PATH if there was an earlier hook: it runs PATH first, with the arguments behind --,
// git's standard input and environment; one that is not executable is left out, as git leaves it out; one that is gone
// refuses. git's working directory and GIT_DIR are those of a linked worktree if that is what is pushed to.
//
// The manifest is written before a script and names both the old and the new one then, so that a script of ours can be
// told from one that somebody edited whenever an install or upgrade ends. A script without a manifest is ours if it is
// exactly what script writes.

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

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/deploy/text"
	"refship/hooks/intent"
	"refship/hooks/target"
)

// InstallConfig is what an installed hook is to do.
type InstallConfig struct {
	Program  string           // absolute path of refship
	Settings *target.Settings // what [refship] says afterwards, all of it; nil: what it says already
	Target   *target.Target   // is added, or replaces the one of its name; nil: the targets stay
	Log      *slog.Logger
}

// Change is what Install or Uninstall did.
type Change struct {
	Done     []string // in order, for reading; empty: all was as it should be
	Warnings []string
}

// Changed tells whether anything was changed.
func (c *Change) Changed() bool { return len(c.Done) > 0 }

func (c *Change) did(format string, args ...any) {
	c.Done = append(c.Done, fmt.Sprintf(format, args...))
}

func (c *Change) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// installer is one run of Install or Uninstall.
type installer struct {
	home   *Repository
	dir    string // of the hooks
	cfg    InstallConfig
	mode   fs.FileMode // of directories in the repository
	change *Change
	step   func(string)

	installed bool // installed.json was there
	manifest  *manifest
	hooks     []*hookState
}

func newInstaller(ctx context.Context, home *Repository, dir string, cfg InstallConfig) *installer {
	return &installer{home: home, dir: dir, cfg: cfg, change: new(Change), step: func(at string) {
		cfg.Log.DebugContext(ctx, "step", "at", at)
	}}
}

// Install puts refship's hooks into a repository beside those that are there, which go on running, and settings and target
// into its git config. Installing the same twice changes nothing; another program, or a script of another format, replaces
// only our own scripts. Whoever is killed meanwhile leaves pushes either as before or handled by refship, and the next
// Install or Uninstall finishes.
//
// Errors are fault.Refused for what cannot or must not be changed; *EditedError for a script that somebody edited.
func Install(ctx context.Context, home *Repository, cfg InstallConfig) (*Change, error) {
	if err := cfg.check(home); err != nil {
		return nil, fmt.Errorf("install hooks: %w", err)
	}
	i := newInstaller(ctx, home, home.HooksDir, cfg)
	if err := i.install(ctx); err != nil {
		return i.change, fmt.Errorf("install hooks: %w", err)
	}
	return i.change, nil
}

func (cfg *InstallConfig) check(home *Repository) error {
	if err := home.checkOwner("install"); err != nil {
		return err
	}
	if !filepath.IsAbs(cfg.Program) || strings.ContainsAny(cfg.Program, "\n\x00") {
		return fmt.Errorf("program %q is no absolute path on one line", cfg.Program)
	}
	if info, err := os.Stat(cfg.Program); err != nil {
		return fmt.Errorf("look for the program: %w", err)
	} else if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return &fault.Error{Kind: fault.Refused, What: cfg.Program + " cannot be run", Remedy: "install refship there, and make it executable"}
	}
	if cfg.Target != nil {
		if err := cfg.Target.Validate(); err != nil {
			return err
		}
	}
	return nil
}

func (i *installer) install(ctx context.Context) (err error) {
	if i.mode, err = git.SharedMode(i.home.GitDir); err != nil {
		return err
	}
	made, unlock, err := i.makeHooksDir(ctx)
	if err != nil {
		return fmt.Errorf("make the directory of hooks: %w", err)
	}
	defer unlock()
	if made {
		i.change.did("made %s", i.dir)
		defer func() {
			if err != nil {
				os.Remove(i.dir) // if it is still empty
			}
		}()
		i.step("install-directory")
	}
	if err := i.checkInstalled(); err != nil {
		return err
	}
	if err := i.look(); err != nil {
		return err
	}
	for _, s := range i.hooks {
		if err := i.mayInstall(s); err != nil {
			return err
		}
	}
	if err := i.installConfig(ctx); err != nil {
		return err
	}
	return i.installHooks(made)
}

// makeHooksDir makes the directory of hooks, if it is not there, and locks it.
func (i *installer) makeHooksDir(ctx context.Context) (made bool, unlock func(), err error) {
	for range 10 {
		if made, err = disk.Mkdir(i.dir, i.mode); err != nil {
			return made, nil, err
		}
		unlock, err = intent.LockDir(ctx, i.dir, "another refship hook changes "+i.dir)
		if !errors.Is(err, fs.ErrNotExist) { // else somebody took it away, with the last hook in it
			break
		}
	}
	return made, unlock, err
}

// checkInstalled refuses to install twice, in two directories.
func (i *installer) checkInstalled() error {
	installed, err := readInstallation(i.home.GitDir)
	if err != nil || installed == nil {
		return err
	}
	i.installed = true
	dir := resolve(i.home.GitDir, installed.Hooks)
	if sameDir(dir, i.dir) {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(dir, manifestName)); err != nil {
		return nil // it was moved, or is gone
	}
	return &fault.Error{
		Kind:   fault.Refused,
		What:   fmt.Sprintf("hooks of %s are installed in %s, and git looks for them in %s now", i.home.GitDir, dir, i.dir),
		Remedy: fmt.Sprintf("refship hook uninstall %s; then install again", text.Quote(i.home.GitDir)),
	}
}

// look reads the manifest and the hooks, and says what is in the way.
func (i *installer) look() (err error) {
	if i.manifest, err = readManifest(i.dir); err != nil {
		return err
	}
	for _, name := range hookNames {
		s, err := look(i.dir, name, i.manifest)
		if err != nil {
			return fmt.Errorf("look at hook %s: %w", name, err)
		}
		if err := s.conflict(i.manifest); err != nil {
			return err
		}
		i.hooks = append(i.hooks, s)
	}
	return nil
}

func (i *installer) mayInstall(s *hookState) error {
	switch {
	case s.lostEarlier():
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("%s is gone, which %s is to run first", s.aside.path, s.at.path),
			Remedy: fmt.Sprintf("put it back, or take the hooks out and install them again: refship hook uninstall %s",
				text.Quote(i.home.GitDir)),
		}
	case s.deaf:
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("%s is run by nobody: %s does not run what is in that directory any more", s.at.path, filepath.Join(s.dir, s.name)),
			Remedy: fmt.Sprintf("refship hook uninstall %s; then install again",
				text.Quote(i.home.GitDir)),
		}
	case s.at.kind == foreign && !s.inDispatcher() && siblingNames.Match(s.at.text):
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("%s runs the hooks beside it whose names begin with its own ($0.…), and would find none under another name; gitolite writes such a hook for repository %s",
				s.at.path, i.home.Name()),
			Remedy: fmt.Sprintf("let another hook run those: with gitolite, take option hook.%s out of its configuration and call them from a hook in LOCAL_CODE/hooks/common", s.name),
		}
	case s.mayDispatch():
		return &fault.Error{
			Kind: fault.Refused,
			What: fmt.Sprintf("it cannot be told whether %s runs the hooks in %s%s", s.at.path, s.at.path, dispatchSuffix),
			Remedy: fmt.Sprintf("if it does, let it name that directory: %s%s; if it does not, take the directory away, or the hooks in it the right to be run",
				s.name, dispatchSuffix),
		}
	case s.at.kind == foreign && s.at.info.IsDir():
		return &fault.Error{Kind: fault.Refused, What: s.at.path + " is a directory", Remedy: "git runs no such hook: move it away"}
	}
	return nil
}

// installConfig writes settings and target, and before them what the config was like.
func (i *installer) installConfig(ctx context.Context) (err error) {
	before, err := readInstallation(i.home.GitDir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && before == nil {
			os.Remove(installationPath(i.home.GitDir))
			os.Remove(intent.Dir(i.home.GitDir)) // if it is empty
			os.Remove(filepath.Dir(intent.Dir(i.home.GitDir)))
		}
	}()
	changed, err := target.EditConfig(ctx, i.home.GitDir, i.step, func(e *target.Edit) error {
		if err := i.editRules(e); err != nil {
			return err
		}
		if err := e.Want.Settings.CheckFiles(); err != nil {
			return err
		}
		return i.record(e.Text, before)
	})
	if err == nil && changed {
		i.change.did("wrote settings and targets into %s", filepath.Join(i.home.GitDir, "config"))
		i.step("install-config")
	}
	return err
}

// editRules makes the copy of the config say what it should.
func (i *installer) editRules(e *target.Edit) error {
	e.Want = target.Config{Settings: e.Rules.Settings, Targets: slices.Clone(e.Rules.Targets)}
	if i.cfg.Settings != nil {
		e.Want.Settings = *i.cfg.Settings
	}
	if err := e.Want.Settings.Validate(); err != nil {
		return err
	}
	if t := i.cfg.Target; t != nil {
		at := slices.IndexFunc(e.Want.Targets, func(o target.Target) bool { return o.Name == t.Name })
		if at < 0 {
			e.Want.Targets, at = append(e.Want.Targets, *t), len(e.Want.Targets)
		}
		e.Want.Targets[at] = *t
	}
	if err := target.CheckTargets(e.Want.Targets); err != nil {
		return err
	}
	switch {
	case len(e.Want.Targets) == 0:
		return &fault.Error{Kind: fault.Refused, What: "there would be hooks and no target: nothing would be deployed", Remedy: "name a target: --target NAME --namespace NS"}
	case e.Want.Settings.Repository == "":
		return &fault.Error{Kind: fault.Refused, What: "the repository has no name for records", Remedy: "give it one: --name NAME"}
	case len(e.Want.Settings.Endpoints) == 0:
		return &fault.Error{Kind: fault.Refused, What: "hooks would not know where etcd is", Remedy: "say it: --endpoints URL"}
	}
	if err := writeRules(e); err != nil {
		return err
	}
	after, err := os.ReadFile(e.Copied)
	if err != nil {
		return err
	}
	// What could not be taken out again is not put in.
	rest, ok := target.WithoutSections(e.Text)
	restAfter, okAfter := target.WithoutSections(after)
	if !ok || !okAfter || !bytes.Equal(rest, restAfter) && !bytes.Equal(slices.Concat(rest, []byte("\n")), restAfter) {
		return &fault.Error{
			Kind:   fault.Refused,
			What:   fmt.Sprintf("%s is written in an unusual way, so that refship's sections could not be taken out again", filepath.Join(i.home.GitDir, "config")),
			Remedy: "put each section and setting on a line of its own: git config --edit",
		}
	}
	return nil
}

// writeRules writes what is not so already.
func writeRules(e *target.Edit) error {
	for _, name := range target.SettingNames {
		have, want := e.Rules.Settings.Text(name), e.Want.Settings.Text(name)
		args := []string{"--replace-all", target.Section + "." + name, want}
		switch {
		case have == want:
			continue
		case want == "":
			args = []string{"--unset-all", target.Section + "." + name}
		}
		if err := e.Config(args...); err != nil {
			return err
		}
	}
	for _, t := range e.Want.Targets {
		if !slices.Contains(e.Rules.Targets, t) {
			if err := target.Write(t, e.Config); err != nil {
				return err
			}
		}
	}
	return nil
}

// record writes installed.json, under the config's lock. What the config was before the first install stays.
func (i *installer) record(config []byte, have *installation) error {
	rest, _ := target.WithoutSections(config)
	state := &installation{
		Format: manifestFormat,
		Hooks:  pathFrom(i.home.GitDir, i.dir, isInside(i.home.GitDir, i.dir)),
		Config: configBefore{SHA256: sumOf(rest), Newline: len(rest) == 0 || bytes.HasSuffix(rest, []byte("\n"))},
	}
	if have != nil && !bytes.Equal(rest, config) {
		state.Config = have.Config
	}
	if err := intent.MakeDir(i.home.GitDir, i.mode); err != nil {
		return err
	}
	if _, err := writeState(installationPath(i.home.GitDir), state, git.Readable(i.mode)); err != nil {
		return err
	}
	i.step("install-recorded")
	return nil
}
