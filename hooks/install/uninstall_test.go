package install_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks/install"
	"refship/hooks/target"
)

// promise is an intent as a push leaves it.
func promise(old, commit string, at time.Time) string {
	return fmt.Sprintf(`{"format": 1, "push": "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", "time": %q, "repository": "config",
 "pusher": {"name": "laptop", "key": "", "via": "os"}, "options": [], "certificate": "", "deploys": [
  {"target": {"name": "default", "ref": "refs/heads/main", "path": "", "namespace": "/refship/config",
   "frontend": "files", "check": ""},
   "old": %q, "new": %q, "forced": false, "forced_head": 0, "reason": ""}]}`, at.UTC().Format(time.RFC3339Nano), old, commit)
}

// What was promised is published before settings and promises go.
func TestUninstallKeepsPromises(t *testing.T) {
	t.Parallel()
	s := newSite(t).withEarlier()
	before := snapshot(t, s.gitDir)
	s.install()
	s.push("main")
	head := runGit(t, s.from, "rev-parse", "HEAD")
	pending := filepath.Join(s.gitDir, "refship", "pending", strings.Repeat("0f", 16)+".json")
	other := strings.Repeat("ab", 20)
	for _, c := range []struct{ text, names, remedy string }{
		{promise(strings.Repeat("0", 40), head, time.Now().Add(-time.Hour)), head[:7],
			"hooks-undeployed " + s.gitDir + " refs/heads/main default"},
		{promise(head, other, time.Now()), "laptop", "try again"},
		{"{", pending, "mv "},
	} {
		s.put(pending, c.text, 0o600)
		now := snapshot(t, s.gitDir)
		_, err := install.Uninstall(t.Context(), s.repository(), slog.New(slog.DiscardHandler))
		fixture.WantFault(t, fault.Refused, err, c.names, c.remedy)
		if diff := cmp.Diff(now, snapshot(t, s.gitDir)); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
	}
	if err := os.Remove(pending); err != nil {
		t.Fatal(err)
	}
	// A push that was between its hooks when pre-receive went: post-receive stays for it.
	j := fixture.NewJournal(t)
	j.When("intents", func() { s.put(pending, promise(strings.Repeat("0", 40), head, time.Now()), 0o600) })
	_, err := install.Uninstall(t.Context(), s.repository(), slog.New(j))
	fixture.WantFault(t, fault.Refused, err, head[:7], "hooks-undeployed")
	if states := s.states(); states != "missing, current" {
		t.Errorf("hooks are %s", states)
	}
	// One that git has refused long ago promised nothing.
	s.put(pending, promise(head, other, time.Now().Add(-2*time.Hour)), 0o600)
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// A server's repository has refship's settings, too.
func TestUninstallLeavesTheServersTargets(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := target.AddTarget(t.Context(), s.gitDir, defaultTarget); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s.gitDir)
	if c := s.uninstall(); c.Changed() {
		t.Errorf("change is %q", c.Done)
	}
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
}

func TestUninstallWithoutManifest(t *testing.T) {
	t.Parallel()
	s := newSite(t).withEarlier()
	before := snapshot(t, s.gitDir)
	s.install()
	manifest := filepath.Join(s.hooks, "refship.json")
	text := s.read(manifest)
	s.put(manifest, text+"x", 0o644)
	if _, err := install.Uninstall(t.Context(), s.repository(), slog.New(slog.DiscardHandler)); err == nil ||
		!strings.Contains(err.Error(), "refship.json") {
		t.Errorf("with a broken manifest the error is %v", err)
	}
	s.put(manifest, strings.Replace(text, `"format": 1`, `"format": 2`, 1), 0o644)
	_, err := install.Uninstall(t.Context(), s.repository(), slog.New(slog.DiscardHandler))
	fixture.WantFault(t, fault.Refused, err, "format 2", "")
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	if states := s.states(); states != "current, current" {
		t.Errorf("hooks are %s", states)
	}
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// A config gets its bytes and mode back, whatever it looks like; if it was changed otherwise since, that stays.
func TestUninstallRestoresConfig(t *testing.T) {
	t.Parallel()
	const core = "[core]\n\trepositoryformatversion = 0\n\tbare = true"
	for name, text := range map[string]string{
		"no line feed":       core,
		"CRLF":               strings.ReplaceAll(core+"\n", "\n", "\r\n"),
		"CRLF, no line feed": strings.ReplaceAll(core, "\n", "\r\n"),
		"comment at the end": core + "\n# the end",
		"empty lines":        core + "\n\n\n",
		"odd": "\t[CORE] bare=true ; yes\n  repositoryformatversion\t=0\n" +
			"[x \"[refship]\"]\ny=\"a\\\n b\"\n\n",
		"section without value": core + "\n[receive]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			config := filepath.Join(s.gitDir, "config")
			s.put(config, text, 0o640)
			before := snapshot(t, s.gitDir)
			for range 2 {
				s.install()
				s.install()
				s.uninstall()
				if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
					t.Errorf("not as before (-before +after):\n%s", diff)
				}
			}
			s.install()
			runGit(t, s.gitDir, "config", "user.name", "Ada")
			s.uninstall()
			if got, want := s.read(config), "[user]\n\tname = Ada\n"; !strings.HasSuffix(got, want) ||
				strings.Contains(got, "\n[refship]\n") {
				t.Errorf("config is %q", got)
			}
		})
	}
	s := newSite(t)
	config := filepath.Join(s.gitDir, "config")
	s.put(config, core+"\n[x]\n\ty = z\\", 0o640)
	before := snapshot(t, s.gitDir)
	if _, err := install.Install(t.Context(), s.repository(), installConfig(t, s.program)); err == nil {
		t.Error("a config whose end goes on with what is appended was changed")
	}
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// A hook that git does not run, since it is not executable, stays so.
func TestInstallBesideHookThatIsNotRun(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.put(filepath.Join(s.hooks, "pre-receive"), earlierPre, 0o644)
	before := snapshot(t, s.gitDir)
	s.install()
	if r := s.push("no"); !r.ok || len(r.stub) != 2 || len(r.earlier) != 0 {
		t.Errorf("push: %+v", r)
	}
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}

// A repository with a work tree, installed from a linked worktree, with hooks in a directory that is relative.
func TestInstallInWorkTree(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	work := filepath.Join(s.dir, "work")
	workRepo(t, work)
	runGit(t, work, "config", "core.hooksPath", "../.githooks")
	runGit(t, work, "worktree", "add", "-q", filepath.Join(s.dir, "linked"))
	s.repo, s.gitDir = filepath.Join(s.dir, "linked"), filepath.Join(work, ".git")
	s.hooks = filepath.Join(work, ".githooks")
	before := snapshot(t, s.gitDir)
	c := s.install()
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "worktree") {
		t.Errorf("warnings: %q", c.Warnings)
	}
	s.repo = work
	if r := s.push("other"); !r.ok || len(r.stub) != 2 {
		t.Errorf("push: %+v", r)
	}
	s.uninstall()
	if _, err := os.Lstat(s.hooks); err == nil {
		t.Errorf("left: %v", snapshot(t, s.hooks))
	}
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("not as before (-before +after):\n%s", diff)
	}
}
