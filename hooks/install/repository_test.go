package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks/install"
)

// runGit runs git in a directory and gives its standard output.
func runGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return fixture.Git(t, dir, fixture.GitEnv(t.TempDir(), "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow",
		"GIT_CONFIG_VALUE_0=always"), args...)
}

// realDir is a temporary directory without symbolic links in its name.
func realDir(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// workRepo is a repository with a work tree and one commit.
func workRepo(t testing.TB, dir string) {
	t.Helper()
	runGit(t, filepath.Dir(dir), "init", "-q", "-b", "main", dir)
	runGit(t, dir, "commit", "-q", "--allow-empty", "-m", "first")
}

// isolate keeps the user's own configuration out of the tests, and gives the file of the user's configuration.
// It is the process's, so such tests do not run beside others.
func isolate(t testing.TB) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "gitconfig")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	return config
}

func TestFind(t *testing.T) {
	global := isolate(t)
	dir := realDir(t)
	bare, work := filepath.Join(dir, "bare.git"), filepath.Join(dir, "a work\ntree")
	runGit(t, dir, "init", "-q", "--bare", bare)
	workRepo(t, work)
	sub := filepath.Join(work, "x", "y")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	workRepo(t, filepath.Join(dir, "lib"))
	runGit(t, work, "submodule", "--quiet", "add", filepath.Join(dir, "lib"), "lib")
	linked := filepath.Join(dir, "linked")
	runGit(t, work, "worktree", "add", "-q", linked)
	git := filepath.Join(work, ".git")
	module := filepath.Join(git, "modules", "lib")
	other := filepath.Join(dir, "other")
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	// An environment that names another repository changes nothing.
	t.Setenv("GIT_DIR", bare)
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
	t.Setenv("GIT_CONFIG_VALUE_0", "/elsewhere")
	for name, c := range map[string]struct {
		path string
		want install.Repository
	}{
		"bare": {bare, install.Repository{GitDir: bare, HooksDir: filepath.Join(bare, "hooks")}},
		"inside bare": {filepath.Join(bare, "refs", "heads"),
			install.Repository{GitDir: bare, HooksDir: filepath.Join(bare, "hooks")}},
		"work tree": {work, install.Repository{GitDir: git, WorkTree: work,
			HooksDir: filepath.Join(git, "hooks")}},
		"sub directory": {sub, install.Repository{GitDir: git, WorkTree: work,
			HooksDir: filepath.Join(git, "hooks")}},
		"git directory": {filepath.Join(git, "refs"),
			install.Repository{GitDir: git, WorkTree: work, HooksDir: filepath.Join(git, "hooks")}},
		"linked worktree": {linked, install.Repository{GitDir: git, WorkTree: linked,
			HooksDir: filepath.Join(git, "hooks")}},
		"submodule": {filepath.Join(work, "lib"),
			install.Repository{GitDir: module, WorkTree: filepath.Join(work, "lib"),
				HooksDir: filepath.Join(module, "hooks")}},
		"submodule git directory": {module, install.Repository{GitDir: module, WorkTree: filepath.Join(work, "lib"),
			HooksDir: filepath.Join(module, "hooks")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := install.Find(t.Context(), c.path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got, cmpopts.IgnoreFields(install.Repository{}, "Owner")); diff != "" {
				t.Errorf("repository (-want +got):\n%s", diff)
			}
			if got.Owner != os.Geteuid() {
				t.Errorf("owner is %d", got.Owner)
			}
		})
	}
	_, err := install.Find(t.Context(), other)
	fixture.WantFault(t, fault.Refused, err, other, "name a repository")
	_, err = install.Find(t.Context(), filepath.Join(dir, "absent"))
	fixture.WantFault(t, fault.Refused, err, "absent", "name a directory")

	sha256 := filepath.Join(dir, "sha256.git")
	runGit(t, dir, "init", "-q", "--bare", "--object-format=sha256", sha256)
	if got, err := install.Find(t.Context(), sha256); err != nil || got.GitDir != sha256 {
		t.Errorf("got %+v, %v", got, err)
	}

	if err := os.WriteFile(global, []byte("[safe]\n\tbareRepository = explicit\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = install.Find(t.Context(), bare)
	fixture.WantFault(t, fault.Refused, err, bare, "safe.bareRepository all")
	if _, err := install.Find(t.Context(), work); err != nil {
		t.Error(err)
	}
}

func TestFindOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a repository of another user")
	}
	global := isolate(t)
	bare := filepath.Join(realDir(t), "bare.git")
	runGit(t, filepath.Dir(bare), "init", "-q", "--bare", bare)
	if err := os.Chown(bare, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := install.Find(t.Context(), bare)
	fixture.WantFault(t, fault.Refused, err, bare,
		"git config --global --add safe.directory "+bare)
	if err := os.WriteFile(global, []byte("[safe]\n\tdirectory = *\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	repo, err := install.Find(t.Context(), bare)
	if err != nil || repo.Owner != 65534 {
		t.Errorf("repository is %+v, %v", repo, err)
	}
}

// Where core.hooksPath leads is where a real push finds its hook.
func TestFindHooksPath(t *testing.T) {
	global := isolate(t)
	home := realDir(t)
	t.Setenv("HOME", home)
	for name, c := range map[string]struct {
		key, value string
		global     bool
		scope      string
		want       func(gitDir string) string
	}{
		"absolute": {"core.hooksPath", filepath.Join(home, "abs"), false, "local",
			func(string) string { return filepath.Join(home, "abs") }},
		"relative": {"core.hooksPath", "my/../hooks2", false, "local",
			func(g string) string { return filepath.Join(g, "hooks2") }},
		"up": {"core.hooksPath", "../githooks", false, "local",
			func(g string) string { return filepath.Join(g, "..", "githooks") }},
		"tilde": {"core.hooksPath", "~/tilde", false, "local",
			func(string) string { return filepath.Join(home, "tilde") }},
		"global": {"core.hooksPath", filepath.Join(home, "glob"), true, "global",
			func(string) string { return filepath.Join(home, "glob") }},
	} {
		for _, kind := range []string{"bare", "work"} {
			t.Run(name+" "+kind, func(t *testing.T) {
				dir := realDir(t)
				repo, gitDir := filepath.Join(dir, "repo"), filepath.Join(dir, "repo")
				if kind == "bare" {
					runGit(t, dir, "init", "-q", "--bare", repo)
				} else {
					workRepo(t, repo)
					gitDir = filepath.Join(repo, ".git")
				}
				file := filepath.Join(gitDir, "config")
				if c.global {
					file = global
					defer func() { _ = os.WriteFile(global, nil, 0o644) }()
				}
				runGit(t, dir, "config", "--file", file, c.key, c.value)
				h, err := install.Find(t.Context(), repo)
				if err != nil {
					t.Fatal(err)
				}
				want := c.want(gitDir)
				if h.HooksDir != want || h.HooksScope != c.scope {
					t.Errorf("hooks are in %s (%s), want %s (%s)", h.HooksDir, h.HooksScope, want, c.scope)
				}
				if err := os.MkdirAll(filepath.Join(gitDir, "my"), 0o755); err != nil { // git does not clean paths
					t.Fatal(err)
				}
				if err := os.MkdirAll(h.HooksDir, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(h.HooksDir, "post-receive"), []byte("#!/bin/sh\necho was run\n"),
					0o755); err != nil {
					t.Fatal(err)
				}
				from := filepath.Join(dir, "from")
				workRepo(t, from)
				push := exec.Command("git", "push", repo, "HEAD:refs/heads/other")
				push.Dir = from
				push.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_GLOBAL=" + global,
					"GIT_CONFIG_NOSYSTEM=1"}
				if out, err := push.CombinedOutput(); err != nil || !strings.Contains(string(out), "was run") {
					t.Errorf("push: %v\n%s", err, out)
				}
			})
		}
	}
}

func TestFindOddHooksDirectories(t *testing.T) {
	isolate(t)
	dir := realDir(t)
	bare := filepath.Join(dir, "bare.git")
	runGit(t, dir, "init", "-q", "--bare", bare)
	runGit(t, bare, "config", "core.hooksPath", "/dev/null")
	_, err := install.Find(t.Context(), bare)
	fixture.WantFault(t, fault.Refused, err, "/dev/null", "core.hooksPath")
	runGit(t, bare, "config", "core.hooksPath", "")
	_, err = install.Find(t.Context(), bare)
	fixture.WantFault(t, fault.Refused, err, "core.hooksPath",
		"git config --local --unset core.hooksPath")
	runGit(t, bare, "config", "--unset", "core.hooksPath")

	// As gitolite has them: a link to a directory of its own.
	elsewhere := filepath.Join(dir, "elsewhere")
	if err := os.Rename(filepath.Join(bare, "hooks"), elsewhere); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../elsewhere", filepath.Join(bare, "hooks")); err != nil {
		t.Fatal(err)
	}
	if h, err := install.Find(t.Context(), bare); err != nil || h.HooksDir != elsewhere {
		t.Errorf("repository is %+v, %v", h, err)
	}
	if err := os.RemoveAll(elsewhere); err != nil {
		t.Fatal(err)
	}
	_, err = install.Find(t.Context(), bare)
	fixture.WantFault(t, fault.Refused, err, filepath.Join(bare, "hooks"), "remove the link")
	if err := os.Remove(filepath.Join(bare, "hooks")); err != nil {
		t.Fatal(err)
	}
	if h, err := install.Find(t.Context(), bare); err != nil || h.HooksDir != filepath.Join(bare, "hooks") {
		t.Errorf("repository is %+v, %v", h, err)
	}
}

func TestFindAll(t *testing.T) {
	t.Parallel()
	dir := realDir(t)
	for _, name := range []string{"b.git", "a/plain", "a/c.git/", "own"} {
		runGit(t, dir, "init", "-q", "--bare", name)
	}
	workRepo(t, filepath.Join(dir, "work"))
	workRepo(t, filepath.Join(dir, "work", "nested"))
	runGit(t, dir, "-C", "work", "worktree", "add", "-q", "../linked")
	if err := os.Symlink("../b.git", filepath.Join(dir, "a", "link.git")); err != nil {
		t.Fatal(err)
	}
	want := []install.Place{
		{Path: filepath.Join(dir, "a/c.git"), Name: "a/c"},
		{Path: filepath.Join(dir, "a/plain"), Name: "a/plain"},
		{Path: filepath.Join(dir, "b.git"), Name: "b"},
		{Path: filepath.Join(dir, "own"), Name: "own"},
		{Path: filepath.Join(dir, "work"), Name: "work"},
	}
	got, err := install.FindAll(t.Context(), dir)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("places (-want +got), %v:\n%s", err, diff)
	}
	got, err = install.FindAll(t.Context(), filepath.Join(dir, "b.git"))
	if diff := cmp.Diff([]install.Place{{Path: filepath.Join(dir, "b.git"), Name: "b"}}, got); diff != "" ||
		err != nil {
		t.Errorf("places (-want +got), %v:\n%s", err, diff)
	}
	if _, err := install.FindAll(t.Context(), filepath.Join(dir, "absent")); err == nil {
		t.Error("no error for a directory that is not there")
	}
}
