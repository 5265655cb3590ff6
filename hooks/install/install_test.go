package install_test

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks/install"
	"refship/hooks/target"
)

// A plain bare repository with hooks of its own, from nothing to nothing.
func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	for _, earlier := range []bool{false, true} {
		s := newSite(t)
		if earlier {
			s.withEarlier()
			s.put(filepath.Join(s.hooks, "update"), "#!/bin/sh\necho update >>\"$EARLIER\"\n", 0o755)
		}
		before := snapshot(t, s.gitDir)
		if c := s.uninstall(); c.Changed() {
			t.Errorf("uninstall where nothing is installed: %q", c.Done)
		}
		if states := s.states(); states != "missing, missing" {
			t.Errorf("hooks are %s", states)
		}
		c := s.install()
		if !c.Changed() || len(c.Warnings) != map[bool]int{false: 0, true: 1}[earlier] {
			t.Errorf("change is %q", c)
		}
		if states := s.states(); states != "current, current" {
			t.Errorf("hooks are %s", states)
		}
		if found := s.inspect(); !found.Complete() || found.Program != s.program ||
			found.Config.Settings.Repository != "config" {
			t.Errorf("installed is %+v", found)
		}
		installed := snapshot(t, s.gitDir)
		if c := s.install(); c.Changed() {
			t.Errorf("the second install: %q", c.Done)
		}
		if diff := cmp.Diff(installed, snapshot(t, s.gitDir)); diff != "" {
			t.Errorf("the second install changed something (-first +second):\n%s", diff)
		}

		r := s.push("main")
		head := runGit(t, s.from, "rev-parse", "HEAD")
		line := strings.Repeat("0", 40) + " " + head + " refs/heads/main"
		wantStub := []string{"pre-receive||0|" + s.gitDir + "|" + line, "post-receive||0|" + s.gitDir + "|" + line}
		var wantEarlier []string
		if earlier {
			wantStub[0] = strings.Replace(wantStub[0], "||", "|pre-receive.before-refship|", 1)
			wantStub[1] = strings.Replace(wantStub[1], "||", "|post-receive.before-refship|", 1)
			wantEarlier = []string{"pre pre-receive 0 refs/heads/main .", "update", "post 0"}
		}
		if diff := cmp.Diff(wantStub, r.stub) + cmp.Diff(wantEarlier, r.earlier, cmpopts.EquateEmpty()); diff != "" ||
			!r.ok {
			t.Errorf("push (-want +got):\n%s%s", diff, r.said)
		}
		if r := s.push("no"); r.ok == earlier {
			t.Errorf("push to the branch that an earlier hook refuses: %+v", r)
		}

		if c := s.uninstall(); !c.Changed() || len(c.Warnings) != 0 {
			t.Errorf("change is %q", c)
		}
		if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
			t.Errorf("not as before (-before +after):\n%s", diff)
		}
		if r := s.push("main"); !r.ok || len(r.stub) != 0 || len(r.earlier) != len(wantEarlier) {
			t.Errorf("push after uninstall: %+v", r)
		}
	}
}

// What runs the hook is gone: refused, or said, and the earlier hooks run where they can no longer refuse.
func TestInstalledProgramGone(t *testing.T) {
	t.Parallel()
	for _, earlier := range []bool{false, true} {
		s := newSite(t)
		if earlier {
			s.withEarlier()
		}
		s.install()
		if err := os.Chmod(s.program, 0o644); err != nil {
			t.Fatal(err)
		}
		r := s.push("main")
		if r.ok || !strings.Contains(r.said, "refship: ") || !strings.Contains(r.said, s.program) || len(r.stub) != 0 {
			t.Errorf("push: %+v", r)
		}
		if states := s.states(); states != "program gone, program gone" {
			t.Errorf("hooks are %s", states)
		}
		// Gone between the two.
		if err := os.Remove(filepath.Join(s.hooks, "pre-receive")); err != nil {
			t.Fatal(err)
		}
		r = s.push("main")
		if !r.ok || !strings.Contains(r.said, "refship: ") || !strings.Contains(r.said, s.program) || len(r.stub) != 0 ||
			len(r.earlier) != map[bool]int{false: 0, true: 1}[earlier] {
			t.Errorf("push: %+v", r)
		}
		s.uninstall()
		r = s.push("no")
		if r.ok == earlier {
			t.Errorf("push after uninstall: %+v", r)
		}
	}
}

func TestInstallOtherTargetAndProgram(t *testing.T) {
	t.Parallel()
	s := newSite(t).withEarlier()
	before := snapshot(t, s.gitDir)
	s.install()
	www := target.Target{Name: "www", Ref: "refs/heads/main", Path: "www", Namespace: "/refship/www", Frontend: "files"}
	cfg := installConfig(t, s.program)
	cfg.Target = www
	c, err := install.Install(t.Context(), s.repository(), cfg)
	if err != nil || len(c.Done) != 1 {
		t.Errorf("change is %v, %v", c, err)
	}
	if diff := cmp.Diff([]target.Target{defaultTarget, www}, targetsOf(t, s.gitDir)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	cfg.Settings = target.Settings{Repository: "config",
		Endpoints: []string{"http://127.0.0.1:1", "http://127.0.0.1:2"}}
	cfg.Program = filepath.Join(s.dir, "bin2", "refship")
	s.put(cfg.Program, stub, 0o755)
	if c, err = install.Install(t.Context(), s.repository(), cfg); err != nil || len(c.Done) != 3 {
		t.Errorf("change is %v, %v", c, err)
	}
	if states := s.states(); states != "outdated, outdated" {
		t.Errorf("hooks for another program are %s", states)
	}
	s.program = cfg.Program
	if found := s.inspect(); !found.Complete() || len(found.Config.Settings.Endpoints) != 2 {
		t.Errorf("installed is %+v", found)
	}
	if r := s.push("main"); !r.ok || len(r.stub) != 2 || len(r.earlier) != 2 {
		t.Errorf("push: %+v", r)
	}
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// An edited script stays as it is.
func TestInstalledHookEdited(t *testing.T) {
	t.Parallel()
	s := newSite(t).withEarlier()
	s.install()
	pre := filepath.Join(s.hooks, "pre-receive")
	ours := s.read(pre)
	refuse := func() error {
		t.Helper()
		now := snapshot(t, s.gitDir)
		_, err := install.Install(t.Context(), s.repository(), installConfig(t, s.program))
		fixture.WantFault(t, fault.Refused, err, pre, "mv ")
		_, err = install.Uninstall(t.Context(), s.repository(), slog.New(slog.DiscardHandler))
		fixture.WantFault(t, fault.Refused, err, pre, "mv ")
		if diff := cmp.Diff(now, snapshot(t, s.gitDir)); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
		return err
	}
	s.put(pre, strings.Replace(ours, "exec ", "nice exec ", 1), 0o755)
	err := refuse()
	var edited *install.EditedError
	if !errors.As(err, &edited) || !strings.Contains(edited.Diff, "+\tnice exec ") ||
		!strings.Contains(edited.Diff, "-\texec ") {
		t.Errorf("the difference is %+v", edited)
	}
	if states := s.states(); states != "edited, current" {
		t.Errorf("hooks are %s", states)
	}
	s.put(pre, "#!/bin/sh\n# another\n", 0o755)
	if err := refuse(); errors.As(err, &edited) {
		t.Errorf("another hook is taken for an edited one: %v", err)
	}
	if states := s.states(); states != "replaced, current" {
		t.Errorf("hooks are %s", states)
	}
	// Its remedy works.
	if err := os.Remove(pre + ".before-refship"); err != nil {
		t.Fatal(err)
	}
	s.install()
	if got := s.read(pre + ".before-refship"); got != "#!/bin/sh\n# another\n" {
		t.Errorf("the earlier hook is %q", got)
	}
	// The earlier hook is gone.
	if err := os.Remove(pre + ".before-refship"); err != nil {
		t.Fatal(err)
	}
	if states := s.states(); states != "earlier gone, current" {
		t.Errorf("hooks are %s", states)
	}
	_, err = install.Install(t.Context(), s.repository(), installConfig(t, s.program))
	fixture.WantFault(t, fault.Refused, err, pre, "hooks-earlier-gone "+s.gitDir)
	if r := s.push("main"); r.ok {
		t.Errorf("push: %+v", r)
	}
	if c := s.uninstall(); len(c.Warnings) != 1 {
		t.Errorf("change is %+v", c)
	}
	if _, err := os.Lstat(pre); err == nil {
		t.Error("our hook is there")
	}
}

// As Gitea and others lay it out.
func TestInstallInDispatcher(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"pre-receive", "post-receive"} {
		s.put(filepath.Join(s.hooks, name), `#!/usr/bin/env bash
data=$(cat)
exitcodes=""
hookname=$(basename $0)
GIT_DIR=${GIT_DIR:-$(dirname $0)/..}
for hook in ${GIT_DIR}/hooks/${hookname}.d/*; do
	test -x "${hook}" && test -f "${hook}" || continue
	echo "${data}" | "${hook}"
	exitcodes="${exitcodes} $?"
done
for i in ${exitcodes}; do
	[ ${i} -eq 0 ] || exit ${i}
done
`, 0o755)
		s.put(filepath.Join(s.hooks, name+".d", "gitea"), "#!/bin/sh\ncat >/dev/null\necho gitea >>\"$EARLIER\"\n",
			0o755)
	}
	before := snapshot(t, s.gitDir)
	if c := s.install(); len(c.Warnings) != 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
	if c := s.install(); c.Changed() {
		t.Errorf("the second install: %q", c.Done)
	}
	r := s.push("main")
	if !r.ok || len(r.stub) != 2 || !strings.HasPrefix(r.stub[0], "pre-receive||0|"+s.gitDir+"|") ||
		len(r.earlier) != 2 {
		t.Errorf("push: %+v", r)
	}
	if h := s.inspect().Hooks[0]; h.Path != filepath.Join(s.hooks, "pre-receive.d", "zz-refship") ||
		h.State != install.HookCurrent || h.Earlier != "" {
		t.Errorf("hook is %+v", h)
	}
	s.put(filepath.Join(s.hooks, "pre-receive"), "#!/bin/sh\n", 0o755)
	if states := s.states(); states != "replaced, current" {
		t.Errorf("hooks are %s", states)
	}
	s.put(filepath.Join(s.hooks, "pre-receive"),
		before["hooks/pre-receive"][strings.Index(before["hooks/pre-receive"], "#!"):], 0o755)
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// As gitolite has them: hooks are symbolic links to elsewhere, and so is the directory.
func TestInstallBesideSymbolicLinks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	common := filepath.Join(s.dir, "common")
	s.put(filepath.Join(common, "pre"), earlierPre, 0o755)
	elsewhere := filepath.Join(s.dir, "elsewhere")
	if err := os.Rename(s.hooks, elsewhere); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{s.hooks: "../elsewhere",
		filepath.Join(elsewhere, "pre-receive"): "../common/pre", filepath.Join(elsewhere, "post-receive"): "nowhere"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	before := []map[string]string{snapshot(t, s.gitDir), snapshot(t, elsewhere), snapshot(t, common)}
	s.install()
	if to, err := os.Readlink(filepath.Join(elsewhere, "pre-receive.before-refship")); err != nil ||
		to != "../common/pre" {
		t.Errorf("the earlier hook leads to %s, %v", to, err)
	}
	if r := s.push("no"); r.ok || len(r.earlier) != 1 || len(r.stub) != 1 {
		t.Errorf("push: %+v", r)
	}
	s.uninstall()
	after := []map[string]string{snapshot(t, s.gitDir), snapshot(t, elsewhere), snapshot(t, common)}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// Three repositories with the same hooks, which were not there; the hooks stay until the last one is out.
func TestInstallSharedHooksPath(t *testing.T) {
	t.Parallel()
	shared := filepath.Join(realDir(t), "shared")
	var sites []*site
	var before []map[string]string
	for range 3 {
		s := newSite(t)
		runGit(t, s.gitDir, "config", "core.hooksPath", shared)
		s.hooks = shared
		if len(sites) > 0 {
			s.program = sites[0].program
		}
		sites, before = append(sites, s), append(before, snapshot(t, s.gitDir))
	}
	sites[0].install()
	sites[1].install()
	if r := sites[2].push("main"); !r.ok || len(r.stub) != 0 {
		t.Errorf("push to the one without settings: %+v", r)
	}
	if err := os.Chmod(sites[0].program, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := sites[2].push("main"); !r.ok {
		t.Errorf("push to the one without settings, program gone: %+v", r)
	}
	if r := sites[1].push("main"); r.ok {
		t.Errorf("push, program gone: %+v", r)
	}
	if err := os.Chmod(sites[0].program, 0o755); err != nil {
		t.Fatal(err)
	}
	if c := sites[2].uninstall(); c.Changed() {
		t.Errorf("uninstall of what is not installed: %q", c.Done)
	}
	sites[2].install()
	if found := sites[1].inspect(); !found.Complete() || len(found.Shared) != 2 {
		t.Errorf("installed is %+v", found)
	}
	sites[0].uninstall()
	if r := sites[0].push("main"); !r.ok || len(r.stub) != 0 {
		t.Errorf("push after uninstall: %+v", r)
	}
	if r := sites[1].push("main"); !r.ok || len(r.stub) != 2 {
		t.Errorf("push to another: %+v", r)
	}
	// A repository that is not there may have been moved: it keeps the hooks until the operator says that it is gone.
	if err := os.RemoveAll(sites[1].repo); err != nil {
		t.Fatal(err)
	}
	_, err := install.Uninstall(t.Context(), sites[2].repository(), slog.New(slog.DiscardHandler))
	fixture.WantFault(t, fault.Refused, err, sites[1].gitDir, filepath.Join(shared, "refship.json"))
	manifest := filepath.Join(shared, "refship.json")
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	edited := regexp.MustCompile(`(?m)^\s*"`+regexp.QuoteMeta(sites[1].gitDir)+`",?\n`).ReplaceAll(text, nil)
	edited = regexp.MustCompile(`,(\s*\])`).ReplaceAll(edited, []byte("$1"))
	if err := os.WriteFile(manifest, edited, 0o644); err != nil {
		t.Fatal(err)
	}
	sites[2].uninstall()
	if _, err := os.Lstat(shared); err == nil {
		t.Errorf("left: %v", snapshot(t, shared))
	}
	for _, n := range []int{0, 2} {
		if diff := cmp.Diff(before[n], snapshot(t, sites[n].gitDir)); diff != "" {
			t.Errorf("not as before (-before +after):\n%s", diff)
		}
	}
}

// Those who install and uninstall at the same time in one directory of hooks wait for each other.
func TestInstallAtOnce(t *testing.T) {
	t.Parallel()
	dir := realDir(t)
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var sites []*site
	for range 4 {
		s := newSite(t)
		runGit(t, s.gitDir, "config", "core.hooksPath", filepath.Join(dir, "link", "hooks"))
		if len(sites) > 0 {
			s.program = sites[0].program
		}
		sites = append(sites, s)
	}
	all := func(do func(*site) error) {
		t.Helper()
		var wait sync.WaitGroup
		for _, s := range sites {
			wait.Go(func() {
				if err := do(s); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	}
	inst := func(s *site) error {
		repo, err := install.Find(t.Context(), s.repo)
		if err == nil {
			_, err = install.Install(t.Context(), repo, installConfig(t, s.program))
		}
		return err
	}
	uninstall := func(s *site) error {
		repo, err := install.Find(t.Context(), s.repo)
		if err == nil {
			_, err = install.Uninstall(t.Context(), repo, slog.New(slog.DiscardHandler))
		}
		return err
	}
	all(inst)
	for _, s := range sites {
		if found := s.inspect(); !found.Complete() || len(found.Shared) != 3 {
			t.Errorf("installed is %+v", found)
		}
	}
	all(func(s *site) error {
		if s == sites[0] {
			return inst(s)
		}
		return uninstall(s)
	})
	if r := sites[0].push("main"); !r.ok || len(r.stub) != 2 {
		t.Errorf("push: %+v", r)
	}
	all(uninstall)
	if left := snapshot(t, filepath.Join(dir, "real")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// A repository can be moved with its hooks.
func TestInstalledRepositoryMoved(t *testing.T) {
	t.Parallel()
	s := newSite(t).withEarlier()
	s.put(filepath.Join(s.gitDir, "config"), strings.TrimSuffix(s.read(filepath.Join(s.gitDir, "config")), "\n"), 0o640)
	before := snapshot(t, s.gitDir)
	s.install()
	moved := filepath.Join(s.dir, "moved.git")
	if err := os.Rename(s.repo, moved); err != nil {
		t.Fatal(err)
	}
	s.repo, s.gitDir, s.hooks = moved, moved, filepath.Join(moved, "hooks")
	if r := s.push("no"); r.ok || len(r.stub) != 1 || len(r.earlier) != 1 {
		t.Errorf("push: %+v", r)
	}
	if found := s.inspect(); !found.Complete() || len(found.Shared) != 0 {
		t.Errorf("installed is %+v", found)
	}
	if c := s.install(); c.Changed() {
		t.Errorf("install: %q", c.Done)
	}
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// core.hooksPath was changed after the install.
func TestInstalledElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t).withEarlier()
	before := snapshot(t, s.hooks)
	s.install()
	runGit(t, s.gitDir, "config", "core.hooksPath", "others")
	if found := s.inspect(); found.Effective || found.Complete() {
		t.Errorf("installed is %+v", found)
	}
	_, err := install.Install(t.Context(), s.repository(), installConfig(t, s.program))
	others := filepath.Join(s.gitDir, "others")
	fixture.WantFault(t, fault.Refused, err, others, "hooks-reinstall "+s.gitDir)
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.hooks)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
	s.install()
	if r := s.push("main"); !r.ok || len(r.stub) != 2 {
		t.Errorf("push: %+v", r)
	}
}

// Where a group may push, its members can run and read what install makes.
func TestInstallSharedRepository(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	shared := filepath.Join(s.dir, "shared.git")
	runGit(t, s.dir, "init", "-q", "--bare", "--shared=0660", shared)
	s.repo, s.gitDir, s.hooks = shared, shared, filepath.Join(shared, "hooks")
	secret := filepath.Join(s.dir, "secret")
	s.put(secret, "x", 0o600)
	cfg := installConfig(t, s.program)
	cfg.Settings.SigningKey = secret
	c, err := install.Install(t.Context(), s.repository(), cfg)
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], secret) {
		t.Errorf("change is %+v, %v", c, err)
	}
	for name, want := range map[string]os.FileMode{
		"refship": 0o770 | os.ModeSetgid | os.ModeDir, "refship/pending": 0o770 | os.ModeSetgid | os.ModeDir,
		"refship/installed.json": 0o640, "hooks/refship.json": 0o640, "hooks/pre-receive": 0o750, "config": 0o660,
	} {
		if info, err := os.Stat(filepath.Join(shared, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode is %v, want %v; %v", name, info.Mode(), want, err)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := snapshot(t, s.gitDir)
	for _, c := range []struct {
		change func(*install.Config)
		names  string
	}{
		{func(c *install.Config) { c.Target = target.Target{} }, `target name ""`},
		{func(c *install.Config) { c.Settings.Repository = "" }, "name"},
		{func(c *install.Config) { c.Settings.Endpoints = nil }, "etcd"},
		{func(c *install.Config) { c.Settings.CACert = "/nonexistent/ca.pem" }, "refship.cacert = /nonexistent/ca.pem"},
		{func(c *install.Config) { c.Program = s.from }, s.from},
		{func(c *install.Config) { c.Target.Name = "X" }, `target name "X"`},
	} {
		cfg := installConfig(t, s.program)
		c.change(&cfg)
		_, err := install.Install(t.Context(), s.repository(), cfg)
		fixture.WantFault(t, fault.Refused, err, c.names, "")
		fixture.WantReason(t, fault.Refused, err, "")
	}
	s.put(filepath.Join(s.gitDir, "config.lock"), "", 0o644)
	_, err := install.Install(t.Context(), s.repository(), installConfig(t, s.program))
	fixture.WantFault(t, fault.Refused, err, "config.lock", "try again")
	if err := os.Remove(filepath.Join(s.gitDir, "config.lock")); err != nil {
		t.Fatal(err)
	}
	stranger := s.repository()
	stranger.Owner = os.Geteuid() + 4711
	owner := strconv.Itoa(stranger.Owner)
	_, err = install.Install(t.Context(), stranger, installConfig(t, s.program))
	fixture.WantFault(t, fault.Refused, err, owner, "hooks-owner #"+owner+" install "+s.gitDir)
	_, err = install.Uninstall(t.Context(), stranger, slog.New(slog.DiscardHandler))
	fixture.WantFault(t, fault.Refused, err, owner, "hooks-owner #"+owner+" uninstall "+s.gitDir)
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

// Where a file takes no second name.
func TestSetAsideByExchange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hook, temporary := filepath.Join(dir, "pre-receive"), filepath.Join(dir, ".tmp")
	aside := hook + ".before-refship"
	for path, text := range map[string]string{hook: "theirs", temporary: "ours"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := install.Exchange(hook, aside, temporary, func(string) {
		for path, want := range map[string]string{hook: "theirs", aside: "ours"} {
			if text, err := os.ReadFile(path); err != nil || string(text) != want {
				t.Errorf("in between %s is %q, %v", path, text, err)
			}
		}
	})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	for path, want := range map[string]string{hook: "ours", aside: "theirs"} {
		if text, e := os.ReadFile(path); e != nil || string(text) != want || err != nil {
			t.Errorf("%s is %q, %v, %v", path, text, e, err)
		}
	}
}

// Scripts are for every POSIX shell.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"dash", "bash --posix", "busybox sh", "sh"} {
		words := append(strings.Fields(shell), "-n")
		if _, err := exec.LookPath(words[0]); err != nil {
			t.Logf("there is no %s", words[0])
			continue
		}
		for _, name := range []string{"pre-receive", "post-receive"} {
			for _, program := range []string{"/usr/bin/refship", `/a 'b' "c" $d \n %s`} {
				for _, earlier := range []bool{false, true} {
					text := install.Script(program, name, earlier)
					if !install.IsScript(text, name) || install.IsScript(strings.Replace(text, "\n", "\n\n", 1), name) {
						t.Errorf("a script is not known as one:\n%s", text)
					}
					cmd := exec.Command(words[0], words[1:]...)
					cmd.Stdin = strings.NewReader(text)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%s: %v\n%s", shell, err, out)
					}
				}
			}
		}
	}
}
