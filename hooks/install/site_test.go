package install_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"refship/deploy/fixture"
	"refship/hooks/install"
	"refship/hooks/target"
)

// stub stands for refship: it writes down how it was run, and runs the earlier hook as hook run does. What it was run
// as, the arguments behind --, directory and standard input are in $STUB.
const stub = `#!/bin/sh
[ "$1 $2 $3" = "hook run --hook" ] || { echo "stub: run as $*" >&2; exit 9; }
hook=$4; shift 4
earlier=
[ "$1" = --earlier ] && { earlier=$2; shift 2; }
[ "$1" = -- ] && shift
input=$(cat)
git config --local --get-regexp '^refship\.' >/dev/null &&
	printf '%s|%s|%s|%s|%s\n' "$hook" "${earlier##*/}" "$#" "$PWD" "$input" >> "$STUB"
[ -n "$earlier" ] && [ ! -e "$earlier" ] && { echo "refship: refused: $earlier is gone" >&2; exit 1; }
[ -x "$earlier" ] || exit 0
printf '%s\n' "$input" | "$earlier" "$@"
`

// earlierPre refuses the branch "no"; both write down that they ran, and under which name.
const (
	earlierPre = `#!/bin/sh
while read -r old new ref; do
	echo "pre $(basename -- "$0" .before-refship) $# $ref $GIT_DIR" >> "$EARLIER"
	[ "$ref" = refs/heads/no ] && { echo "not this one" >&2; exit 1; }
done
exit 0
`
	earlierPost = `#!/bin/sh
cat >/dev/null
echo "post $#" >> "$EARLIER"
`
)

// site is a repository without a server of refship's, and a pusher.
type site struct {
	testing.TB
	dir     string
	repo    string
	gitDir  string
	hooks   string
	from    string
	program string
	pushes  int
}

func newSite(t testing.TB) *site {
	t.Helper()
	dir := realDir(t)
	s := &site{TB: t, dir: dir, repo: filepath.Join(dir, "a repo's.git"), from: filepath.Join(dir, "from"),
		program: filepath.Join(dir, "it's bin", "refship")}
	s.gitDir, s.hooks = s.repo, filepath.Join(s.repo, "hooks")
	runGit(t, dir, "init", "-q", "--bare", s.repo)
	workRepo(t, s.from)
	s.put(s.program, stub, 0o755)
	return s
}

func (s *site) put(path, text string, mode fs.FileMode) {
	s.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		s.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		s.Fatal(err)
	}
}

func (s *site) read(path string) string {
	s.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// withEarlier puts hooks of its own into the repository.
func (s *site) withEarlier() *site {
	s.put(filepath.Join(s.hooks, "pre-receive"), earlierPre, 0o750)
	s.put(filepath.Join(s.hooks, "post-receive"), earlierPost, 0o755)
	return s
}

func (s *site) repository() *install.Repository {
	s.Helper()
	h, err := install.Find(s.Context(), s.repo)
	if err != nil {
		s.Fatal(err)
	}
	return h
}

func installConfig(t testing.TB, program string) install.Config {
	return install.Config{
		Program: program, Target: defaultTarget, Log: fixture.Log(t),
		Settings: target.Settings{Repository: "config", Endpoints: []string{"http://127.0.0.1:2379"}},
	}
}

func (s *site) install() *install.Change {
	s.Helper()
	c, err := install.Install(s.Context(), s.repository(), installConfig(s, s.program))
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *site) uninstall() *install.Change {
	s.Helper()
	c, err := install.Uninstall(s.Context(), s.repository(), fixture.Log(s))
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *site) inspect() *install.Status {
	s.Helper()
	found, err := install.Inspect(s.repository(), s.program)
	if err != nil {
		s.Fatal(err)
	}
	return found
}

// states are those of pre-receive and post-receive.
func (s *site) states() string {
	s.Helper()
	var states []string
	for _, h := range s.inspect().Hooks {
		states = append(states, string(h.State))
	}
	return strings.Join(states, ", ")
}

// pushed is what came of a push.
type pushed struct {
	ok      bool
	said    string
	stub    []string // how the stub was run
	earlier []string // what the earlier hooks wrote down
}

// push makes a commit and pushes it to a branch.
func (s *site) push(branch string) pushed {
	s.Helper()
	s.pushes++
	runGit(s, s.from, "commit", "-q", "--allow-empty", "-m", strconv.Itoa(s.pushes))
	stubbed, earlier := filepath.Join(s.dir, "stub"), filepath.Join(s.dir, "earlier")
	os.Remove(stubbed)
	os.Remove(earlier)
	cmd := exec.Command("git", "push", "-f", s.repo, "HEAD:refs/heads/"+branch)
	cmd.Dir, cmd.Env = s.from, fixture.GitEnv(s.dir, "STUB="+stubbed, "EARLIER="+earlier)
	out, err := cmd.CombinedOutput()
	lines := func(path string) []string {
		text, _ := os.ReadFile(path)
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	}
	return pushed{ok: err == nil, said: string(out), stub: lines(stubbed), earlier: lines(earlier)}
}

// snapshot says what is in a directory, to every byte and mode; but for objects, refs and times.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if name == "objects" || name == "refs" || name == "logs" {
			return fs.SkipDir
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%v %d:%d ", info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(content)
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += to
		}
		found[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// installChildVariable makes this test binary a process that installs or uninstalls, and kills itself at a step.
const installChildVariable = "REFSHIP_TEST_INSTALL"

// childOrder is what the child is to do.
type childOrder struct {
	Repo    string
	Program string // "": uninstall
	KillAt  int    // the step, from 1 on
}

// killer is a log handler that kills the process at a step.
type killer struct {
	slog.Handler
	left int
}

func (k *killer) Enabled(context.Context, slog.Level) bool { return true }

func (k *killer) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "step" {
		return nil
	}
	if k.left--; k.left == 0 {
		r.Attrs(func(a slog.Attr) bool { fmt.Println(a.Value); return true })
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return nil
}

func installChild() int {
	var order childOrder
	if err := json.Unmarshal([]byte(os.Getenv(installChildVariable)), &order); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx := context.Background()
	log := slog.New(&killer{Handler: slog.DiscardHandler, left: order.KillAt})
	repo, err := install.Find(ctx, order.Repo)
	if err == nil && order.Program == "" {
		_, err = install.Uninstall(ctx, repo, log)
	} else if err == nil {
		_, err = install.Install(ctx, repo, install.Config{
			Program: order.Program, Target: defaultTarget, Log: log,
			Settings: target.Settings{Repository: "config", Endpoints: []string{"http://127.0.0.1:2379"}},
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runChild gives the step at which the child killed itself; "" if it came to its end.
func (s *site) runChild(order childOrder) (step string) {
	s.Helper()
	text, err := json.Marshal(order)
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = fixture.GitEnv(s.dir, installChildVariable+"="+string(text))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		return ""
	}
	if state := cmd.ProcessState.Sys().(syscall.WaitStatus); !state.Signaled() {
		s.Fatalf("child: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}
