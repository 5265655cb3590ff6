package gitserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"refship/deploy/fault"
	"refship/deploy/git"
	"refship/hooks/target"
)

func TestPushCloneFetch(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	reader := e.user("reader", "read:*")
	work := e.work()

	r := e.git(laptop, work, "push", e.url("config"), "main")
	r.want(t, 0, "main -> main")
	e.deployed(r, 1)
	commit := e.mustGit(nil, work, "rev-parse", "HEAD")
	if d := e.head("config"); d == nil || string(d.Hash) != commit || d.Record.Pusher.Name != "laptop" {
		t.Fatalf("head is %+v, want %s by laptop", d, commit)
	}

	clone := filepath.Join(e.dir, "clone")
	cmd := e.gitCommand(reader, e.dir, "clone", "-q", e.url("config.git"), clone)
	cmd.Env = append(cmd.Env, "GIT_TRACE_PACKET=1")
	r = e.run(cmd)
	r.want(t, 0, "version 2")
	if got := e.mustGit(nil, clone, "rev-parse", "HEAD"); got != commit {
		t.Errorf("clone has %s, want %s", got, commit)
	}

	e.commit(work, "file", "two\n")
	e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 2)
	e.mustGit(reader, clone, "fetch", "-q")
	if got, want := e.mustGit(nil, clone, "rev-parse", "origin/main"),
		e.mustGit(nil, work, "rev-parse", "HEAD"); got != want {
		t.Errorf("fetch has %s, want %s", got, want)
	}

	partial := filepath.Join(e.dir, "partial")
	e.git(reader, e.dir, "clone", "-q", "--filter=blob:none", e.url("config"), partial).want(t, 0)
	old := filepath.Join(e.dir, "old")
	e.git(reader, e.dir, "-c", "protocol.version=0", "clone", "-q", e.url("config"), old).want(t, 0)

	// Nothing new to push is no error.
	e.git(laptop, work, "push", e.url("config"), "main").want(t, 0, "Everything up-to-date")
	e.git(laptop, work, "push", "-o", "deploy.dry-run", e.url("config"), "main").want(t, 0, "Everything up-to-date")
	r = e.git(laptop, work, "push", "--dry-run", e.url("config"), "main:refs/heads/dry")
	r.want(t, 0, "main -> dry")
	if strings.Contains(r.stderr, "refship:") {
		t.Errorf("dry run says %s", r.stderr)
	}
	// A push with push options reaches the hooks.
	e.git(laptop, work, "push", "-o", "ci.skip", e.url("config"), "main:refs/heads/other").want(t, 0, "other")
	// A key that may only read may not push, and the ref stays.
	e.fails(e.git(reader, clone, "push", e.url("config"), "HEAD:refs/heads/x"), 128, fault.Refused)
}

// TestUnreadable pushes what git itself refuses.
func TestUnreadable(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:*")

	t.Run("fsck", func(t *testing.T) {
		work := e.work()
		blob := e.mustGit(nil, work, "rev-parse", "HEAD:file")
		mktree := e.gitCommand(nil, work, "mktree")
		mktree.Stdin = strings.NewReader("100644 blob " + blob + "\t.git\n")
		tree := e.run(mktree)
		commit := e.mustGit(nil, work, "commit-tree", "-m", "bad", strings.TrimSpace(tree.stdout))
		e.git(laptop, work, "push", e.url("config"), commit+":refs/heads/main").want(t, 1,
			"hasDotgit", "refship: error: ", "refship: hint: push-has-flaw config hasDotgit")
		if !e.logged("push not taken by git") {
			t.Error("log does not tell")
		}
	})
	t.Run("garbage", func(t *testing.T) {
		c := e.dial(laptop)
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/main\x00report-status"
		s.Stdin = strings.NewReader(pktLine(line) + "0000" + "PACKthis is no pack at all, whatever it says")
		if e.execIn(s, "git-receive-pack '/config'").want(t, 1); len(e.log.About("push not taken by git")) != 2 {
			t.Error("log does not tell")
		}
	})
	t.Run("cut", func(t *testing.T) {
		c := e.dial(laptop)
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		s.Stdin = strings.NewReader("00a")
		e.execIn(s, "git receive-pack config").want(t, 128, "fatal: the remote end hung up unexpectedly")
	})
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
	if d := e.head("config"); d != nil {
		t.Errorf("something was deployed: %+v", d)
	}
}

// TestListLimits: a push of too many refs, or of one whose name is too long, is refused before git keeps it in memory.
func TestListLimits(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:config")
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	var many strings.Builder
	for i := range git.MaxUpdates + 1 {
		many.WriteString(pktLine(fmt.Sprintf("%s %s refs/heads/%d", zero, one, i)))
	}
	for want, list := range map[string]string{
		"10000": many.String(), "8 KiB": pktLine(zero + " " + one + " refs/heads/" + strings.Repeat("x", 9000)),
	} {
		e.fails(e.push(laptop, "config", []byte(list+"0000")), 4, fault.Refused)
		if err := e.failure(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("failed with %v", err)
		}
	}
	e.nothingMoved(t, repo)
}

// TestReplacementObjects: a pushed refs/replace/ changes nothing of what the server's git reads (git-replace(1)): who
// may push but not deploy can neither make the repository unusable nor have another tree deployed.
func TestReplacementObjects(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	pusher, laptop := e.user("pusher", "push:config"), e.user("laptop", "deploy:config")
	work := e.work()
	one := e.mustGit(nil, work, "rev-parse", "HEAD")
	e.commit(work, "file", "two\n")
	two := e.mustGit(nil, work, "rev-parse", "HEAD")
	e.mustGit(nil, work, "checkout", "-q", "--orphan", "evil")
	e.commit(work, "file", "evil\n")
	// One commit is replaced by itself, which git refuses to read; one by another line.
	e.mustGit(pusher, work, "push", e.url("config"), two+":refs/heads/x", one+":refs/replace/"+one,
		"evil:refs/replace/"+two)
	e.mustGit(laptop, work, "push", e.url("config"), one+":refs/heads/main")
	e.deployed(e.git(laptop, work, "push", e.url("config"), two+":refs/heads/main"), 2)
	if got := e.mustGit(nil, repo.Dir, "rev-parse", "refs/heads/main"); got != two {
		t.Errorf("ref is %s, want %s", got, two)
	}
	if d := e.head("config"); string(d.Hash) != two || string(d.Record.PreviousHash) != one || d.Record.Commits != 1 {
		t.Errorf("head is %+v, want %s after %s", d, two, one)
	}
	e.mustGit(laptop, e.dir, "clone", "-q", e.url("config"), "clone")
}

func pktLine(s string) string {
	const hex = "0123456789abcdef"
	n := len(s) + 4
	return string([]byte{hex[n>>12&15], hex[n>>8&15], hex[n>>4&15], hex[n&15]}) + s
}

// TestSHA256: a repository has one object format, and so have those that push to it.
func TestSHA256(t *testing.T) {
	e := start(t)
	laptop := e.user("laptop", "deploy:*")
	long, err := e.repos.Create(t.Context(), "long", git.FormatSHA256, "refs/heads/main",
		[]target.Target{e.target("long")})
	if err != nil {
		t.Fatal(err)
	}
	sha256 := filepath.Join(e.dir, "sha256")
	e.mustGit(nil, e.dir, "init", "-q", "--object-format=sha256", sha256)
	e.commit(sha256, "file", "one\n")
	// git itself says so here.
	e.git(laptop, e.work(), "push", e.url("long"), "main").want(t, 128, "hash algorithm")
	e.git(laptop, sha256, "push", e.url("long"), "main").want(t, 0)
	e.commit(sha256, "file", strings.Repeat("two\n", 1000))
	e.git(laptop, sha256, "push", e.url("long"), "main").want(t, 0)
	if d := e.head("long"); d.ID != 2 || string(d.Hash) != e.mustGit(nil, long.Dir, "rev-parse", "refs/heads/main") {
		t.Errorf("head is %+v", d)
	}

	// The other way round the client's git gives up; whether its ssh stays to show our hint is up to chance.
	repo := e.repo("config")
	e.git(laptop, sha256, "push", e.url("config"), "main").want(t, 128, "fatal: ")
	e.stop()
	if !e.logged("client sent nothing") {
		t.Error("log does not tell")
	}
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
}

// TestNothingSent: where the client's git says itself why it sends nothing, the server has nothing to add.
func TestNothingSent(t *testing.T) {
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:*")
	work := e.work()
	e.mustGit(laptop, work, "push", e.url("config"), "main")
	e.mustGit(nil, work, "commit", "-q", "--amend", "-m", "another")
	e.mustGit(nil, work, "branch", "side")
	sha256 := filepath.Join(e.dir, "sha256")
	e.mustGit(nil, e.dir, "init", "-q", "--object-format=sha256", sha256)
	e.commit(sha256, "file", "one\n")
	for _, c := range []struct {
		dir    string
		args   []string
		status int
		says   string
	}{
		{work, []string{e.url("config"), "main"}, 1, "! [rejected]        main -> main (non-fast-forward)"},
		{work, []string{"--atomic", e.url("config"), "main"}, 1, "! [rejected]        main -> main (non-fast-forward)"},
		{work, []string{"--atomic", "--all", e.url("config")}, 1,
			"! [rejected]        side -> side (atomic push failed)"},
		{work, []string{e.url("config"), "none"}, 1, "src refspec none does not match any"},
		{work, []string{"--signed", e.url("config"), "main:refs/heads/signed"}, 128, "does not support --signed push"},
		{sha256, []string{e.url("config"), "main"}, 128, "does not support this repository's hash algorithm"},
	} {
		r := e.git(laptop, c.dir, append([]string{"push"}, c.args...)...)
		r.want(t, c.status, c.says)
		if strings.Contains(r.stderr, "refship:") {
			t.Errorf("%q: the server says: %s", c.args, r.stderr)
		}
	}
	// The very same over a connection of which nothing gets lost.
	c := e.dial(laptop)
	empty := e.repo("empty")
	if r := e.exec(c, "git-receive-pack '/config'"); r.status == 0 || strings.Contains(r.stderr, "refship:") {
		t.Errorf("got %+v", r)
	}
	e.exec(c, "git-receive-pack '/empty'").want(t, 128, `refship: hint: if your git says "unexpected capabilities^{}"`,
		"it has sha256 object names, and empty has sha1", string(ReasonFormat))
	if refs := e.mustGit(nil, empty.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
}

// TestMissingHook: git takes a hook that it cannot run for none. The server does not.
func TestMissingHook(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	laptop := e.user("laptop", "deploy:*")
	work := e.work()
	hook := filepath.Join(e.dir, "run", "hooks", "pre-receive")
	// It goes away during the push: too late to keep the ref, but the pusher hears it.
	e.log.When("receive-start", func() {
		if err := os.Remove(hook); err != nil {
			t.Error(err)
		}
	})
	e.fails(e.git(laptop, work, "push", e.url("config"), "main:refs/heads/other"), 1, fault.Failed)
	if !e.logged("hooks disappeared during a push") {
		t.Error("log does not tell")
	}
	// It is not there before.
	e.fails(e.git(laptop, work, "push", e.url("config"), "main"), 128, fault.Failed)
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref", "refs/heads/main"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
}

// TestGitEnvironment looks at what git processes get to see.
func TestGitEnvironment(t *testing.T) {
	bin := t.TempDir()
	seen := filepath.Join(bin, "seen")
	real, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncase \"$*\" in *receive-pack*|*upload-pack*) { env; echo args: \"$@\"; } >>" + seen +
		";; esac\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("GIT_DIR", "/nowhere")
	t.Setenv("REFSHIP_SECRET", "x")
	e := start(t)
	e.repo("config")
	laptop := e.user("laptop", "deploy:*")
	work := e.work()
	e.mustGit(laptop, work, "push", "-q", e.url("config"), "main")
	e.mustGit(laptop, work, "ls-remote", e.url("config"))
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	var args, settings []string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(name, "GIT_CONFIG_KEY_"):
			settings = append(settings, value)
			continue
		case strings.HasPrefix(name, "GIT_CONFIG_VALUE_"), name == "GIT_CONFIG_COUNT": // refship's own, of those settings
			continue
		}
		switch name {
		case "PATH", "HOME", "LC_ALL", "MALLOC_ARENA_MAX",
			"GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_NO_REPLACE_OBJECTS",
			"GIT_PROTOCOL", "GIT_TERMINAL_PROMPT", "GIT_NO_LAZY_FETCH", "GIT_ALLOW_PROTOCOL",
			"REFSHIP_HOOK_SOCKET", "REFSHIP_HOOK_TOKEN", "PWD", "OLDPWD", "SHLVL", "_": // the last four are the shell's
		case "GIT_DIR":
			if line != "GIT_DIR="+filepath.Join(e.repos.Path, "config.git") {
				t.Errorf("git got %s", line)
			}
		default:
			if strings.HasPrefix(line, "args: ") {
				args = append(args, line)
			} else {
				t.Errorf("git got %s", line)
			}
		}
	}
	if len(args) != 2 {
		t.Fatalf("git ran %d times, want 2: %q", len(args), args)
	}
	slices.Sort(settings)
	if want := []string{"gpg.program", "gpg.ssh.allowedSignersFile", "gpg.ssh.program", "gpg.x509.program"}; !slices.Equal(
		settings, want) {
		t.Errorf("git's environment sets %q, want %q", settings, want)
	}
	for _, want := range []string{"core.fsync=committed,reference", "receive.unpackLimit=1", "receive.fsckObjects=true",
		"receive.autogc=false", "gc.auto=0", "receive.advertisePushOptions=true", "receive.hideRefs=refs/notes/deploys",
		"receive.hideRefs=refs/refship/",
		"core.hooksPath=" + filepath.Join(e.dir, "run", "hooks"),
		"--end-of-options " + filepath.Join(e.repos.Path, "config.git")} {
		if !strings.Contains(args[0], want) {
			t.Errorf("receive-pack has no %s: %s", want, args[0])
		}
	}
}

// TestPushByPath: a push that does not come through the server moves nothing.
func TestPushByPath(t *testing.T) {
	e := start(t)
	repo := e.repo("config")
	work := e.work()
	e.git(nil, work, "push", repo.Dir, "main").want(t, 1, "remote: refship: error: ", "ssh://git@HOST:PORT/config")
	if refs := e.mustGit(nil, repo.Dir, "for-each-ref"); refs != "" {
		t.Errorf("refs moved: %s", refs)
	}
}
