package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/text"
	"refship/hooks/check"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// runner runs checks of an empty tree, and keeps what they say.
type runner struct {
	testing.TB
	*check.Runner
	dir string // of scratch directories
	out string // of what checks write to and do not take with them

	mu    sync.Mutex
	lines []string
	acts  map[string]func() // at a line, once
}

func newRunner(t testing.TB, change ...func(*check.Config)) *runner {
	dir := fixture.ShortDir(t)
	cfg := check.Config{Dir: filepath.Join(dir, "checks"), Limit: time.Hour, Every: time.Second, Log: fixture.Log(t)}
	for _, c := range change {
		c(&cfg)
	}
	return &runner{TB: t, Runner: check.NewRunner(cfg), dir: cfg.Dir, out: dir, acts: make(map[string]func())}
}

func (r *runner) tell(line string) {
	r.mu.Lock()
	r.lines = append(r.lines, line)
	act := r.acts[line]
	delete(r.acts, line)
	r.mu.Unlock()
	if act != nil {
		act()
	}
}

// run runs a command, and checks that its scratch directory is gone.
func (r *runner) run(ctx context.Context, command string) error {
	r.Helper()
	err := r.Run(ctx, &check.Check{
		Target: "default", Command: command, About: check.About{
			Repository: "config", Ref: "refs/heads/main", Commit: "5d6e7f8", Previous: "1a2b3c4", Pusher: "laptop",
			Frontend: "files",
		},
		WriteTree: func(context.Context, string, int64, func(text.Progress)) error { return nil },
		Tell:      r.tell,
		During: func(step string, fn func(func(text.Progress)) error) error {
			r.tell(step)
			return fn(func(text.Progress) {})
		},
	})
	r.tidied()
	return err
}

func (r *runner) tidied() {
	r.Helper()
	if left, err := filepath.Glob(filepath.Join(r.dir, "*")); err != nil || len(left) > 0 {
		r.Errorf("scratch directories left: %q, %v", left, err)
	}
}

// said are the lines of the command itself.
func (r *runner) said() (said []string) {
	for _, l := range r.lines {
		if line, ok := strings.CutPrefix(l, "| "); ok {
			said = append(said, line)
		}
	}
	return said
}

// words are those in a file that commands write to; none if there is no file.
func (r *runner) words(name string) []string {
	r.Helper()
	content, err := os.ReadFile(filepath.Join(r.out, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.Fatal(err)
	}
	return strings.Fields(string(content))
}

// spreading is a command that leaves processes of each kind behind: children of children, one that ignores SIGTERM, and
// one that left the group. It writes their numbers to pids, its own first, and says that they run.
func (r *runner) spreading() string {
	return "cd " + r.out + `; echo $$ >>pids
env -i sh -c 'trap "" TERM; echo $$ >>pids; sh -c "echo \$\$ >>pids; exec sleep 1000"; sleep 1000' &
setsid sh -c 'echo $$ >>pids; exec sleep 1000' &
until [ "$(wc -l <pids)" = 4 ]; do sleep 0.01; done
echo spread
`
}

// ended checks that what spreading started is gone.
func (r *runner) ended() {
	r.Helper()
	pids := r.words("pids")
	if len(pids) != 4 {
		r.Fatalf("process numbers are %q", pids)
	}
	for _, pid := range pids {
		fixture.Eventually(r, func() bool {
			state, err := os.ReadFile("/proc/" + pid + "/stat")
			return err != nil || bytes.Contains(state, []byte(") Z "))
		})
	}
}

// However a check ends, all that it started ends with it.
func TestEndsWithAllItStarted(t *testing.T) {
	short := func(cfg *check.Config) { cfg.Grace = 100 * time.Millisecond }
	t.Run("passed", func(t *testing.T) {
		r := newRunner(t)
		if err := r.run(t.Context(), r.spreading()); err != nil {
			t.Error(err)
		}
		r.ended()
	})
	t.Run("limit", func(t *testing.T) {
		t.Parallel() // it waits
		r := newRunner(t, short, func(cfg *check.Config) { cfg.Limit = 20 * time.Second })
		err := r.run(t.Context(), r.spreading()+"wait")
		fixture.WantReason(t, fault.Refused, err, "check-too-slow")
		r.ended()
	})
	t.Run("context", func(t *testing.T) {
		r := newRunner(t, short)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the client is gone")
		r.acts["| spread"] = func() { cancel(cause) }
		if err := r.run(ctx, r.spreading()+"wait"); !errors.Is(err, cause) {
			t.Errorf("error is %v", err)
		}
		r.ended()
	})
}

// A command that is told to end has time for it. Here the shell does not wait for its child, which still works.
func TestTimeToEnd(t *testing.T) {
	r := newRunner(t, func(cfg *check.Config) { cfg.Grace = 5 * time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	r.acts["| ready"] = cancel
	start := time.Now()
	err := r.run(ctx, "cd "+r.out+
		`; sh -c 'trap "echo cleaning up; echo yes >done; exit" TERM; echo ready; while :; do sleep 0.01; done' & wait`)
	if !errors.Is(err, context.Canceled) || !slices.Contains(r.said(), "cleaning up") ||
		!slices.Equal(r.words("done"), []string{"yes"}) || time.Since(start) > 2*time.Minute {
		t.Errorf("said %q, cleaned up %q, after %s: %v", r.said(), r.words("done"), time.Since(start), err)
	}
}

// A command gets an environment of its own, directories of its own, and no file or terminal of this process.
func TestEnvironment(t *testing.T) {
	for _, name := range []string{"REFSHIP_PASSWORD", "REFSHIP_HOOK_TOKEN", "SSH_AUTH_SOCK", "GIT_DIR", "LC_ALL", "USER"} {
		t.Setenv(name, "of the server")
	}
	inherited, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // as if the server had been started with it open
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	r := newRunner(t)
	if err := r.run(t.Context(), `tr '\0' '\n' </proc/$$/environ; pwd; stat -c '%a %n' ../../check-* ../*; `+
		`ls -A .. "$HOME" "$TMPDIR"; ls -l /proc/$$/fd; `+
		`echo group, session, terminal: $(cut -d' ' -f5-7 /proc/$$/stat); echo self $$`); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(r.said(), "\n")
	scratch := regexp.MustCompile(regexp.QuoteMeta(r.dir) + `/check-\d+`).FindString(said)
	self := regexp.MustCompile(`self (\d+)`).FindStringSubmatch(said)
	if scratch == "" || self == nil {
		t.Fatalf("said\n%s", said)
	}
	// Taken apart here: a shell with a pipeline of its own has more files open.
	said = regexp.MustCompile(`(?m)^(?:l.* (\d+ -> .*)|total 0\n.*? (0 -> .*))$`).ReplaceAllString(said, "$1$2")
	said = regexp.MustCompile(`pipe:\[\d+\]`).ReplaceAllString(strings.ReplaceAll(said, self[1], "PID"), "pipe")
	want := fmt.Sprintf(`PATH=%s
HOME=%[2]s/home
TMPDIR=%[2]s/tmp
LANG=C.UTF-8
REFSHIP_REPOSITORY=config
REFSHIP_TARGET=default
REFSHIP_REF=refs/heads/main
REFSHIP_COMMIT=5d6e7f8
REFSHIP_PREVIOUS=1a2b3c4
REFSHIP_PUSHER=laptop
REFSHIP_FRONTEND=files
%[2]s/tree
700 ../../%[3]s
700 ../home
700 ../tmp
700 ../tree
..:
home
tmp
tree

%[2]s/home:

%[2]s/tmp:
0 -> /dev/null
1 -> pipe
2 -> pipe
group, session, terminal: PID PID 0
self PID`, os.Getenv("PATH"), scratch, filepath.Base(scratch))
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("the command saw (-want +got):\n%s", diff)
	}
}

// However much a check writes, and whatever: a bounded number of harmless lines is told, the last of them too.
func TestOutputIsBounded(t *testing.T) {
	r := newRunner(t)
	err := r.run(t.Context(), `printf '\033[2J\007\000tab\there \377\r\n\n'; `+
		`head -c 3000000 /dev/zero | tr '\0' x; echo; `+
		`seq 5000; printf 'no end'; exit 1`)
	fixture.WantReason(t, fault.Refused, err, "")
	at := 0
	wants := []string{`| \x1b[2J\a\x00tab    here \xff`, "| ", "| xxx", "… (2998000 bytes more)", "| 1", "| 997",
		"more than 1000 lines: of those that follow, the last 50 are told at the end", "… 3954 lines left out",
		"| 4952", "| 5000", "| no end"}
	for _, l := range r.lines {
		for at < len(wants) && strings.Contains(l, wants[at]) {
			at++
		}
	}
	all := strings.Join(r.lines, "\n")
	if at < len(wants) || len(r.said()) != 1050 || len(all) > 100_000 || strings.ContainsAny(all, "\a\x00") ||
		slices.Contains(r.lines, "| 998") {
		t.Errorf("lines up to %q, %d lines, %d bytes", wants[:at], len(r.said()), len(all))
	}
}

// A background child that keeps the output open holds nothing up, not even one that cannot be found.
func TestOutputHeldOpen(t *testing.T) {
	r := newRunner(t)
	err := r.run(t.Context(), "env -i setsid sleep 1000 & echo $! >"+filepath.Join(r.out, "pids")+
		"; until grep -q sleep /proc/$!/comm; do :; done; echo done")
	if err != nil || !slices.Equal(r.said(), []string{"done"}) {
		t.Errorf("said %q, %v", r.said(), err)
	}
	for _, pid := range r.words("pids") { // documented: it is not found
		if err := exec.Command("kill", pid).Run(); err != nil {
			t.Errorf("process %s: %v", pid, err)
		}
	}
}

// Four checks run at a time. A fifth waits for its turn, as long as its context lives.
func TestOnlySoManyAtATime(t *testing.T) {
	r := newRunner(t)
	release := filepath.Join(r.out, "release")
	var running, started sync.WaitGroup
	for range 4 {
		started.Add(1)
		running.Go(func() {
			err := r.Run(t.Context(), &check.Check{
				Target: "waiting", Command: "until [ -e " + release + " ]; do sleep 0.01; done",
				WriteTree: func(context.Context, string, int64, func(text.Progress)) error { started.Done(); return nil },
				Tell:      func(string) {},
				During:    func(_ string, fn func(func(text.Progress)) error) error { return fn(func(text.Progress) {}) },
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	const waiting = "waiting for other checks to end"
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the client is gone")
	r.acts[waiting] = func() { cancel(cause) }
	fifth := &check.Check{Target: "default", Command: "true", Tell: r.tell,
		WriteTree: func(context.Context, string, int64, func(text.Progress)) error { return nil },
		During: func(step string, fn func(func(text.Progress)) error) error {
			r.tell(step)
			return fn(func(text.Progress) {})
		}}
	if err := r.Run(ctx, fifth); !errors.Is(err, cause) || !slices.Equal(r.lines, []string{waiting}) {
		t.Errorf("said %q, %v", r.lines, err)
	}
	r.acts[waiting] = func() {
		if err := os.WriteFile(release, nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	if err := r.Run(t.Context(), fifth); err != nil {
		t.Error(err)
	}
	running.Wait()
	r.tidied()
}

func TestCannotBeStarted(t *testing.T) {
	r := newRunner(t)
	t.Setenv("PATH", t.TempDir())
	fixture.WantFault(t, fault.Refused, r.run(t.Context(), "true"),
		`"sh"`, "operator")
}

// What checks of a killed server left running and lying about goes, also what a check made unreadable. What belongs to
// others stays.
func TestClear(t *testing.T) {
	r := newRunner(t)
	err := r.run(t.Context(), `mkdir -p "$HOME/a/b" && touch "$HOME/a/b/c" && chmod 0 "$HOME/a/b" "$HOME/a"`)
	if err != nil {
		t.Fatal(err)
	}
	lives := func(env string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), env}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	theirs := []*exec.Cmd{lives("HOME=" + r.dir + "/check-1/home"), lives("HOME=" + r.dir + "/check-2/home/a")}
	others := []*exec.Cmd{
		lives("HOME=" + r.dir + "-2/home"), lives("OTHERHOME=" + r.dir + "/check-1/home"), lives("HOME=" + r.out),
	}
	left := filepath.Join(r.dir, "check-1", "home", "a")
	if err := errors.Join(os.MkdirAll(left, 0o700), os.Chmod(left, 0)); err != nil {
		t.Fatal(err)
	}
	if err := r.Clear(); err != nil {
		t.Error(err)
	}
	r.tidied()
	for _, cmd := range theirs {
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Errorf("%q: %v", cmd.Env, err)
		}
	}
	for _, cmd := range others {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%q: %v", cmd.Env, err)
		}
		if err := cmd.Wait(); err == nil || err.Error() != "signal: terminated" {
			t.Errorf("%q: %v", cmd.Env, err)
		}
	}
}
