package main

// What a user gains from these tests: whenever the server's machine dies inside a push, after the restart git and the
// chain agree, and no deploy is ever half there.

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"refship/deploy/fixture"
)

// killStep is one of killSteps.
type killStep struct {
	at    string
	moved bool
}

// killSteps are the failure points from reception to publish, and what must be true of a push that died there:
// "before", the ref has not moved; "after", it has, and the restart publishes.
var killSteps = []killStep{
	{"receive-start", false},
	{"pre-receive-start", false},
	{"checked", false},
	{"locked", false},
	{"prepared", false},
	{"contents-put", false},
	{"uploaded", false},
	{"intent-written", false},
	{"post-receive-start", true},
	{"publishing", true},
	{"published", true},
	{"intent-removed", true},
	{"receive-done", true},
	{"session-ended", true},
}

func TestKillAtEveryStep(t *testing.T) {
	t.Parallel()
	killAtSteps(t, newWorld(t), killSteps)
}

// TestKillSHA256: with SHA-256 object names, too. The steps are those between which a push becomes a deploy.
func TestKillSHA256(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, "sha256")
	killAtSteps(t, w, slices.DeleteFunc(slices.Clone(killSteps), func(s killStep) bool {
		return s.at != "uploaded" && s.at != "intent-written" && s.at != "publishing" && s.at != "published"
	}))
	w.stop()
	killAtRandom(t, w, max(1, *killTimes/3))
}

func killAtSteps(t *testing.T, w *world, steps []killStep) {
	w.serve("")
	w.commit("first", 3)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	for _, step := range steps {
		before := w.ref()
		commit := w.commit(step.at, 3)
		w.serve(step.at)
		_ = w.push() // it dies with the server, or just about not
		select {
		case <-w.server.ended:
		case <-time.After(patience):
			t.Fatalf("%s: the server is alive: is there no such step?\n%s", step.at, w.server.text())
		}
		want := before
		if step.moved {
			want = commit
		}
		if ref := w.ref(); ref != want {
			t.Errorf("%s: the ref is at %s, want %s (it was at %s)", step.at, ref, want, before)
		}
		w.serve("")
		w.agree(step.at)
		if err := w.push(); err != nil {
			t.Errorf("%s: push after the restart: %v", step.at, err)
		}
		if head := w.agree(step.at); head != commit {
			t.Errorf("%s: pushed again, the chain is at %s, want %s", step.at, head, commit)
		}
		w.stop()
	}
	w.serve("")
	w.readBack()
}

var killTimes = flag.Int("kill.times", 5, "how many pushes TestKillAtRandom hits")

func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	killAtRandom(t, newWorld(t), *killTimes)
}

func killAtRandom(t *testing.T, w *world, kills int) {
	const files = 400
	rounds := 20 * kills // a kill may come too late: the next one is earlier
	w.serve("")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	w.commit("undisturbed", files)
	start := time.Now()
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	// The moments are spread over a whole push and beyond it, for how long that is depends on who else is at work on the
	// machine: the last push that was not hit tells.
	span := time.Since(start)
	hit, landed, round := 0, 0, 0
	for ; hit < kills && round < rounds; round++ {
		commit := w.commit(fmt.Sprintf("round %d", round), files)
		start, pushed, acknowledged := time.Now(), make(chan error, 1), false
		go func() { pushed <- w.push() }()
		select {
		case err := <-pushed:
			if err != nil {
				t.Fatalf("round %d: an undisturbed push: %v", round, err)
			}
			span = time.Since(start)
			continue
		case <-time.After(time.Duration(random.Int64N(2 * int64(span)))):
			w.kill()
			acknowledged = <-pushed == nil // it was done just before; its end proves in any case that git has noticed
		}
		w.serve("")
		at := w.agree(fmt.Sprintf("round %d", round))
		if acknowledged {
			if at != commit {
				t.Errorf("round %d: the push said that %s is deployed, and after the restart %s is", round, commit, at)
			}
			continue
		}
		if hit++; at == commit {
			landed++
			continue
		}
		if err := w.push(); err != nil {
			t.Errorf("round %d: push after the restart: %v", round, err)
		}
	}
	t.Logf("%d of %d pushes were hit, the last within %s; of these %d landed, before or at the restart", hit, round, span,
		landed)
	if hit < kills {
		t.Errorf("%d kills hit a running push, want %d", hit, kills)
	}
	w.agree("the end")
	w.readBack()
}

// world is a data directory with one repository, its server, and a clone that pushes to it.
type world struct {
	testing.TB
	dir    string
	format string // of its repositories, as git calls it
	env    []string
	server *background
	url    string
	files  int
}

func newWorld(t testing.TB) *world { return newWorldOf(t, "sha1") }

func newWorldOf(t testing.TB, format string) *world {
	dir := fixture.ShortDir(t)
	w := &world{TB: t, dir: dir, format: format}
	w.env = fixture.GitEnv(dir, "REFSHIP_DATA_DIR="+w.in("data"), fixture.SSHCommand(w.in("id"), ""))
	w.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.in("id"))
	w.furnish()
	w.must("git", "init", "-q", "-b", "main", "--object-format="+format, w.in("work"))
	t.Cleanup(func() {
		if w.server != nil {
			w.kill()
		}
	})
	return w
}

// furnish puts the key and the repository into the data directory.
func (w *world) furnish() {
	w.Helper()
	w.must("refship", "key", "add", "ada", "--key", w.in("id.pub"), "--allow", "deploy:config")
	w.must("refship", "repo", "create", "config", "--object-format", w.format)
}

func (w *world) in(name string) string { return filepath.Join(w.dir, name) }

// program finds refship as it was built without the race detector.
func (w *world) program(name string) string {
	if name != "refship" {
		return name
	}
	path, err := exec.LookPath(name)
	if err != nil {
		w.Fatal(err)
	}
	return filepath.Join(filepath.Dir(path), plainDir, name)
}

func (w *world) run(name string, args ...string) (string, error) {
	cmd := exec.CommandContext(w.Context(), w.program(name), args...)
	cmd.Env = w.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %q: %w\n%s", name, args, err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

func (w *world) must(name string, args ...string) string {
	w.Helper()
	out, err := w.run(name, args...)
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// serve starts the server, which shall kill itself at a failure point ("": it shall not).
func (w *world) serve(failpoint string) {
	w.Helper()
	w.serveUnder([]string{"env", "REFSHIP_FAILPOINT=" + failpoint})
}

// serveUnder starts the server as the argument of another command.
func (w *world) serveUnder(command []string) {
	w.Helper()
	if !w.start(command) {
		w.Fatalf("the server does not listen; it said:\n%s", w.server.text())
	}
}

// start is serveUnder, and tells whether the server listens.
func (w *world) start(command []string) bool {
	w.Helper()
	command = append(command, w.program("refship"), "serve", "--listen", "127.0.0.1:0")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = w.env
	w.server = &background{cmd: cmd, changed: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = w.server, w.server
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	server := w.server
	go func() {
		server.err = cmd.Wait()
		close(server.ended)
	}()
	match := w.server.wait(listening)
	if match == nil {
		return false
	}
	w.url = "ssh://git@127.0.0.1:" + match[1] + "/config"
	return true
}

func (w *world) kill() {
	_ = w.server.cmd.Process.Kill() // it may have ended
	<-w.server.ended
}

func (w *world) stop() {
	w.Helper()
	_ = w.server.cmd.Process.Signal(os.Interrupt) // it may have ended: what Wait says counts
	<-w.server.ended
	if w.server.err != nil {
		w.Errorf("the server: %v\n%s", w.server.err, w.server.text())
	}
}

// commit makes a commit that changes some files and gives its oid.
func (w *world) commit(message string, files int) string {
	w.Helper()
	for i := range files {
		w.files++
		path := filepath.Join(w.in("work"), fmt.Sprintf("dir-%d/file-%d", i%20, i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.Fatal(err)
		}
		if err := os.WriteFile(path, fmt.Appendf(nil, "%s: content %d\n", message, w.files), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	w.must("git", "-C", w.in("work"), "add", "-A")
	w.must("git", "-C", w.in("work"), "commit", "-q", "-m", message)
	return w.must("git", "-C", w.in("work"), "rev-parse", "HEAD")
}

func (w *world) push() error {
	_, err := w.run("git", "-C", w.in("work"), "push", "-q", w.url, "main")
	return err
}

// ref is where the server's repository has the branch; "" if nowhere.
func (w *world) ref() string {
	oid, err := w.run("git", "--git-dir", w.in("data/repos/config.git"), "rev-parse", "--verify", "--quiet",
		"refs/heads/main")
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		w.Error(err)
	}
	return oid
}

// agree checks that ref and chain are at the same commit, which it gives.
func (w *world) agree(when string) string {
	w.Helper()
	log := w.must("refship", "log", "--json", "-n", "1")
	head := ""
	if log != "" {
		head = field(w.TB, log, "hash")
	}
	if ref := w.ref(); ref != head {
		w.Errorf("%s: the ref is at %q, the chain at %q; the server said:\n%s", when, ref, head, w.server.text())
	}
	return head
}

// readBack checks every deploy out and compares it with git archive of its hash.
func (w *world) readBack() { w.readBackKept(func(string) bool { return true }) }

// readBackKept is readBack, but that those deploys may be expired that gc need not have kept. It gives how many are.
func (w *world) readBackKept(isKept func(id string) bool) (expired int) {
	w.Helper()
	log := w.must("refship", "log", "--json")
	deploys := strings.Split(log, "\n")
	w.Logf("%d deploys", len(deploys))
	for i, line := range deploys {
		id, hash := field(w.TB, line, "id"), field(w.TB, line, "hash")
		if want := fmt.Sprint(len(deploys) - i); id != want {
			w.Errorf("deploy %s stands where %s should", id, want)
		}
		ours, git := w.in("ours-"+id), w.in("git-"+id)
		if _, err := w.run("refship", "checkout", id, ours); err != nil {
			if isKept(id) || !strings.Contains(err.Error(), "is expired") {
				w.Error(err)
			}
			expired++
			continue
		}
		w.must("git", "-C", w.in("work"), "archive", "-o", git+".tar", hash)
		if err := os.Mkdir(git, 0o755); err != nil {
			w.Fatal(err)
		}
		w.must("tar", "-x", "-f", git+".tar", "-C", git)
		a, err := describeTree(ours)
		if err != nil {
			w.Fatal(err)
		}
		b, err := describeTree(git)
		if err != nil {
			w.Fatal(err)
		}
		if !slices.Equal(a, b) {
			w.Errorf("deploy %s is not %s", id, hash)
		}
		_ = os.RemoveAll(ours)
		_ = os.RemoveAll(git)
	}
	return expired
}

// field gives a member of a JSON object as text.
func field(t testing.TB, object, name string) string {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(object))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		t.Fatalf("%s: %v", object, err)
	}
	return fmt.Sprint(members[name])
}
