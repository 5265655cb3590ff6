package hooks_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/record"
	"refship/hooks/socket"
	"refship/hooks/target"
)

// checked is the default target with a check.
func checked(line string) target.Target {
	t := defaultTarget
	t.Check = line
	return t
}

// setCheck gives the default target another check.
func (s *site) setCheck(line string) {
	s.Helper()
	if err := target.SetTarget(s.Context(), s.bare, checked(line)); err != nil {
		s.Fatal(err)
	}
}

// outside is a file that checks can write to and that they do not take with them.
func (s *site) outside(name string) string { return filepath.Join(s.dir, name) }

func (s *site) lines(path string) []string {
	s.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Fatal(err)
	}
	return strings.Fields(string(text))
}

// tidied checks that no check left its scratch directory.
func (s *site) tidied() {
	s.Helper()
	if left, err := filepath.Glob(filepath.Join(s.dir, "run", "checks", "*")); err != nil || len(left) > 0 {
		s.Errorf("scratch directories left: %q, %v", left, err)
	}
}

// Every way to deploy has to pass the target's check; what is not deployed, or has passed, is not checked.
func TestCheckBeforeDeploy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	runs := s.outside("runs")
	if err := target.AddTarget(t.Context(), s.bare,
		checked("echo $REFSHIP_PUSHER >>"+runs+"; cat a.txt; echo oh dear >&2; grep -q good a.txt")); err != nil {
		t.Fatal(err)
	}
	ran := func(want ...string) {
		t.Helper()
		if got := s.lines(runs); !slices.Equal(got, want) {
			t.Errorf("checks ran for %q, want %q", got, want)
		}
		os.Remove(runs)
		s.tidied()
	}
	laptop := s.user("laptop")
	s.commit("a.txt", "bad\n")
	for _, p := range []*pusher{laptop, laptop.with("deploy.dry-run"),
		laptop.may("force:*").with("deploy.force", "deploy.reason=now")} {
		s.unchanged(func() {
			r := p.push("main")
			r.refused(t, fault.Refused, "")
			r.says(t, "| bad", "| oh dear")
			ran("laptop")
		})
	}
	if lines := s.journal.About("check"); len(lines) != 3 || lines[0]["passed"] != false ||
		lines[0]["target"] != "default" || lines[0]["user"] != "laptop" {
		t.Errorf("log lines are %v", lines)
	}
	laptop.with("deploy.skip").push("main").ended(t, true, "skipped")
	laptop.push("main:aside").ended(t, true, "stored")
	ran()
	said, err := s.ask("")
	fixture.WantReason(t, fault.Refused, err, "")
	if !slices.Contains(said, "| oh dear") || s.last("check")["passed"] != false || len(s.dump()) != 0 {
		t.Errorf("asked for: %v, said %q, etcd holds %v", err, said, s.dump())
	}
	ran("ops")

	head := s.commit("a.txt", "good\n")
	s.unchanged(func() {
		r := laptop.with("deploy.dry-run").push("main")
		r.ended(t, false, "dry-run")
		r.says(t, "| good", head)
	})
	ran("laptop")
	r := laptop.push("main")
	r.published(t, 1)
	r.says(t, "| good", "| oh dear")
	if line := s.last("check"); line["passed"] != true || line["commit"] != head {
		t.Errorf("log line is %v", line)
	}
	ran("laptop")
	laptop.push("main:main", "+main:aside").ended(t, true, "stored")
	if said := s.asked("", "already deployed"); len(said) != 1 {
		t.Errorf("said %q", said)
	}
	ran()
	s.commit("a.txt", "good again\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	s.asked("", "deployed", "/refship/config 2")
	ran("ops")

	// What an intent promises has passed; so has what lost its lock afterwards.
	head, _ = s.leaveBehind(laptop, "good, and left behind\n")
	ran("laptop")
	if said := s.reconcile(true, 3); len(said) != 1 {
		t.Errorf("said %q", said)
	}
	s.commit("a.txt", "good, with a lost lock\n")
	s.journal.When("post-receive-start", func() { s.del("/refship/config/refship/lock") })
	laptop.push("main").published(t, 4)
	ran("laptop")
	// With another check that promise is none.
	s.leaveBehind(laptop, "good, for the old check\n")
	ran("laptop")
	s.setCheck("echo another; false")
	if said := s.reconcile(true); len(said) != 2 { // the intent that is out of date, and the ref that is ahead
		t.Errorf("said %q", said)
	}
	if said, err := s.ask(""); err == nil || !slices.Contains(said, "| another") {
		t.Errorf("asked for: %v, said %q", err, said)
	}
	if at, id := s.head("/refship/config"); id != 4 || at == head {
		t.Errorf("chain is at %d %s", id, at)
	}
	s.settled()
}

// Of several targets each is checked with its own part of the tree, and all that is wrong is told at once.
func TestChecksOfSeveralTargets(t *testing.T) {
	t.Parallel()
	whole, www, plain := files("whole", "refs/heads/main", ""), files("www", "refs/heads/main", "www"),
		files("plain", "refs/heads/main", "")
	whole.Check, www.Check = "echo $REFSHIP_TARGET: *; kill $$", "echo $REFSHIP_TARGET: *; exit 3"
	s := newSite(t, whole, www, plain)
	s.commit("a.txt", "one\n")
	s.commit("www/index.html", "hello\n")
	laptop := s.user("laptop")
	s.unchanged(func() {
		r := laptop.push("main")
		r.refused(t, fault.Refused, "", "")
		r.says(t, "/refship/whole: | whole: a.txt www", "/refship/www: | www: index.html")
	})
	for _, one := range []target.Target{whole, www} {
		one.Check = "true"
		if err := target.SetTarget(t.Context(), s.bare, one); err != nil {
			t.Fatal(err)
		}
	}
	checks := func() (targets []any) {
		for _, line := range s.journal.About("check") {
			targets = append(targets, line["target"])
		}
		return targets
	}
	laptop.push("main").published(t, 1, 1, 1)
	// What is below www did not change: that target is not checked.
	s.commit("a.txt", "two\n")
	laptop.push("main").published(t, 2, 2)
	if diff := cmp.Diff([]any{"whole", "www", "whole", "www", "whole"}, checks()); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	s.tidied()
}

// listener acts once somebody was told something, so many times; 0 is once.
type listener struct {
	mu    sync.Mutex
	said  bytes.Buffer
	what  string
	times int
	act   func()
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said.Write(b)
	if l.act != nil && strings.Count(l.said.String(), l.what) >= max(1, l.times) {
		l.act()
		l.act = nil
	}
	return len(b), nil
}

// fifo makes a named pipe: a reader waits until a writer opens it.
func (s *site) fifo(name string) string {
	s.Helper()
	path := s.outside(name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// The check goes on only after its first line has reached the pusher; the second stays quiet for longer than a second.
func TestCheckIsHeardAsItRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	first, second := s.fifo("first"), s.fifo("second")
	if err := target.AddTarget(t.Context(), s.bare, checked("echo begun; cat "+first+"; cat "+second)); err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) func() {
		return func() {
			if err := os.WriteFile(path, []byte(text), 0); err != nil {
				t.Error(err)
			}
		}
	}
	s.commit("a.txt", "one\n")
	laptop := s.user("laptop")
	quiet := &listener{what: "running for ", times: 2, act: write(second, "at last\n")} // check.txtar has the whole line
	laptop.heard = io.MultiWriter(&listener{what: "| begun", act: write(first, "gone on\n")}, quiet)
	r := laptop.push("main")
	r.published(t, 1)
	r.says(t, "| begun", "| gone on", "| at last") // quiet has heard between them that it runs still
}

// git's receive-pack and its hook live on without a client. The server notices, and ends the check. So it does for a
// deploy that was asked for, which ends with the server, too.
func TestCheckEndsWithoutItsClient(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"client gone", "hook killed", "asked for", "asker gone", "asker not to wait"} {
		t.Run(way, func(t *testing.T) {
			s := newSite(t)
			pid := s.outside("pid")
			if err := target.AddTarget(t.Context(), s.bare,
				checked("echo $$ >"+pid+"; echo begun; exec sleep 1000")); err != nil {
				t.Fatal(err)
			}
			s.commit("a.txt", "one\n")
			laptop := s.user("laptop")
			stopping := errors.New("the server stops")
			if strings.HasPrefix(way, "ask") {
				s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
			}
			s.unchanged(func() {
				ctx, lose := context.WithCancelCause(t.Context())
				switch way {
				case "asked for", "asker gone", "asker not to wait":
					run, client := t.Context(), ctx
					if way == "asked for" {
						run, client = ctx, nil
					}
					why := stopping
					if way == "asker gone" {
						why = nil
					}
					err := s.server.Deploy(run, client, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"},
						func(line string) {
							if line == "| begun" {
								lose(why)
							}
						})
					if err == nil || errors.Is(err, stopping) != (why != nil) {
						t.Errorf("error is %v", err)
					}
					if result := s.reports.take()[0].Result; client != nil && result != "refused" {
						t.Errorf("result is %s", result)
					}
					return
				case "client gone":
					laptop.line = ctx
				}
				laptop.heard = &listener{what: "| begun", act: map[string]func(){
					"hook killed": laptop.killHook, "client gone": func() { lose(nil) },
				}[way]}
				r := laptop.push("main")
				r.ended(t, false, "refused")
				if errors.Is(r.outcome.Refused, socket.ErrGone) != (way == "hook killed") {
					t.Errorf("refused by %v", r.outcome.Refused)
				}
			})
			fixture.Eventually(t, func() bool {
				_, err := os.Stat("/proc/" + strings.Join(s.lines(pid), " "))
				return errors.Is(err, fs.ErrNotExist)
			})
			s.tidied()
		})
	}
}

// A check is told what it checks.
func TestEnvironmentOfACheck(t *testing.T) {
	t.Parallel()
	s := newSite(t, checked("env | grep ^REFSHIP_ | sort >../home/env; cat ../home/env"))
	previous := ""
	for i := range 2 {
		head := s.commit("a.txt", previous+"one\n")
		r := s.user("laptop").push("main")
		r.ended(t, true, "deployed", record.ID(i+1))
		r.says(t, "| REFSHIP_COMMIT="+head, "| REFSHIP_FRONTEND=files", "| REFSHIP_PREVIOUS="+previous,
			"| REFSHIP_PUSHER=laptop", "| REFSHIP_REF=refs/heads/main", "| REFSHIP_REPOSITORY=config",
			"| REFSHIP_TARGET=default")
		if !slices.Contains(r.lines, "| REFSHIP_PREVIOUS="+previous) {
			t.Errorf("previous is not %q in %q", previous, r.lines)
		}
		previous = head
	}
}

// What checks of a server that was killed left goes when the next one starts.
func TestScratchOfAKilledServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.stop()
	s.wait()
	if err := os.MkdirAll(filepath.Join(s.dir, "run", "checks", "check-1", "home"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.tidied()
	if info, err := os.Stat(filepath.Join(s.dir, "run")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// The command sees what git has: bytes, modes, links, whatever attributes and names there are; and nothing of git's
// own.
func TestTreeOfACheck(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	outside := s.outside("outside")
	copied := s.outside("copied")
	if err := os.Mkdir(outside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := target.AddTarget(t.Context(), s.bare, checked("cp -a . "+copied)); err != nil {
		t.Fatal(err)
	}
	s.commit(".gitattributes", "*.txt text eol=crlf ident filter=rot13\nhidden export-ignore\n")
	for name, content := range map[string]string{
		"a.txt": "$Id$\nline\n", "hidden": "x", "empty": "", "sub/deep/er/file": strings.Repeat("0123456789abcdef", 200_000),
		"sub/-rf":     "\x00\xff",
		"ünï\tcode\n": "odd\n", "sub/run.sh": "#!/bin/sh\n", ".hidden/.gitignore": "*\n", "$(touch x)": "quoted\n",
	} {
		path := filepath.Join(s.work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		s.git(s.work, "-c", "core.autocrlf=false", "update-index", "--add", "--cacheinfo", "100644,"+
			s.git(s.work, "hash-object", "-w", "--no-filters", "--", name)+","+name)
	}
	s.git(s.work, "update-index", "--chmod=+x", "sub/run.sh")
	for name, to := range map[string]string{"in": "sub/deep", "out": outside, "up": "../../../../outside",
		"sub/nowhere": "a b\n$c"} {
		link := s.outside("link")
		if err := os.WriteFile(link, []byte(to), 0o600); err != nil {
			t.Fatal(err)
		}
		s.git(s.work, "update-index", "--add", "--cacheinfo", "120000,"+s.git(s.work, "hash-object", "-w", "--no-filters",
			link)+","+name)
	}
	s.git(s.work, "update-index", "--add", "--cacheinfo", "160000,"+s.git(s.work, "rev-parse", "HEAD")+",module")
	s.git(s.work, "commit", "-q", "-m", "all kinds")
	s.user("laptop").push("main").published(t, 1)
	if line := s.last("check"); line["passed"] != true {
		t.Errorf("log line is %v", line)
	}

	want, got := make(map[string]string), make(map[string]string)
	for entry := range strings.SplitSeq(strings.TrimSuffix(s.git(s.work, "ls-tree", "-r", "-z", "main"), "\x00"), "\x00") {
		info, name, _ := strings.Cut(entry, "\t")
		mode, rest, _ := strings.Cut(info, " ")
		_, oid, _ := strings.Cut(rest, " ")
		if want[name] = mode; mode != "160000" {
			cmd := exec.Command("git", "cat-file", "blob", oid)
			cmd.Dir, cmd.Env = s.work, fixture.GitEnv(s.dir)
			content, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			want[name] += " " + string(content)
		}
	}
	err := filepath.WalkDir(copied, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(copied, path)
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			got[name] = "120000 " + to
			return err
		case e.IsDir():
			if below, err := os.ReadDir(path); err != nil || len(below) == 0 {
				got[name] = "160000" // what git has no empty directories for
			}
			return nil
		}
		content, err := os.ReadFile(path)
		got[name] = map[bool]string{true: "100755 ", false: "100644 "}[info.Mode()&0o100 != 0] + string(content)
		return err
	})
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(got) < 14 {
		t.Errorf("tree (-want +got), %v:\n%.2000s", err, diff)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside of the tree: %v, %v", left, err)
	}
	s.tidied()
}

// What could not be deployed is refused before anybody waits for its check.
func TestCheckOfWhatCannotBeDeployed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	runs := s.outside("runs")
	if err := target.AddTarget(t.Context(), s.bare, checked("echo x >>"+runs)); err != nil {
		t.Fatal(err)
	}
	s.commit("a.txt", "one\n")
	empty := s.git(s.work, "hash-object", "-w", "-t", "blob", "/dev/null")
	s.git(s.work, "update-index", "--add", "--cacheinfo", "120000,"+empty+",link")
	s.git(s.work, "commit", "-q", "-m", "a link to nowhere")
	laptop := s.user("laptop")
	laptop.push("main").refused(t, fault.Refused, "")
	if got := s.lines(runs); len(got) > 0 || len(s.dump()) != 0 || s.refs() != "" {
		t.Errorf("checks: %q, refs: %s", got, s.refs())
	}
	s.tidied()
}

// What somebody else deployed while this push waited is not checked any more.
func TestCheckOfWhatIsDeployedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSite(t, checked("false"))
	head := s.commit("a.txt", "one\n")
	give, err := s.server.TakeTurns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	laptop := s.user("laptop")
	laptop.heard = &listener{what: "waiting", act: func() {
		s.publish(filepath.Join(s.work, ".git"), head)
		give()
	}}
	laptop.push("main").ended(t, true, "already deployed")
	if at, id := s.head("/refship/config"); at != head || id != 1 || len(s.journal.About("check")) != 0 {
		t.Errorf("chain is at %d %s, checks: %v", id, at, s.journal.About("check"))
	}
	s.settled()
}

// Once its check has passed a deploy goes on without the user who asked for it.
func TestDeployGoesOnWithoutItsClientOnceItIsChecked(t *testing.T) {
	t.Parallel()
	s := newSite(t, checked("true"))
	head := s.commit("a.txt", "one\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	client, leave := context.WithCancel(t.Context())
	s.journal.When("checked", leave)
	err := s.server.Deploy(t.Context(), client, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"},
		func(string) {})
	if at, id := s.head("/refship/config"); err != nil || client.Err() == nil || id != 1 || at != head {
		t.Errorf("chain is at %d %s, %v", id, at, err)
	}
	// A user who has left before gets no check, and gets a deploy that has none.
	s.commit("a.txt", "two\n")
	s.git(s.work, "push", "-q", s.bare, "main")
	ask := func() error {
		return s.server.Deploy(t.Context(), client, "config", s.bare, "", record.Pusher{Name: "ops", Via: "ssh"},
			func(string) {})
	}
	if err := ask(); err == nil || s.last("deploy")["result"] != "refused" || len(s.journal.About("check")) != 1 {
		t.Errorf("error is %v, log line is %v, checks %v", err, s.last("deploy"), s.journal.About("check"))
	}
	s.setCheck("")
	err = ask()
	if _, id := s.head("/refship/config"); err != nil || id != 2 {
		t.Errorf("chain is at %d, %v", id, err)
	}
	s.settled()
}

// Somebody else deploys the same commit before its check begins, so that it is not checked, and then takes it back: it
// is not deployed a second time, unchecked.
func TestNothingUncheckedIsDeployed(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"push", "asked for"} {
		t.Run(way, func(t *testing.T) {
			s := newSite(t, defaultTarget)
			laptop := s.user("laptop")
			first := s.commit("a.txt", "one\n")
			laptop.push("main").published(t, 1)
			s.setCheck("false")
			head := s.commit("a.txt", "two\n")
			again := func() { s.publish(filepath.Join(s.work, ".git"), head) }
			back := func() {
				s.publish(s.bare, first, func(j *deploy.Job) { j.Force, j.Reason = true, "not yet" })
			}
			switch way {
			case "push":
				give, err := s.server.TakeTurns(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				laptop.heard = &listener{what: "waiting", act: func() { again(); give() }}
				s.journal.When("checked", back)
				laptop.push("main").ended(t, true, "already deployed")
			default:
				s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
				repo, err := git.OpenRepository(t.Context(), s.bare, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer repo.Close()
				reads := 0
				s.faults.breaks(func(string) outage { reads++; return outage{} })
				if _, err := s.chain("/refship/config").Check(t.Context(), jobOf(repo, head)); err != nil {
					t.Fatal(err)
				}
				s.faults.breaks(func(string) outage { // the second time that the chain is asked
					if reads--; reads < 0 {
						s.faults.heal()
						again()
						s.faults.breaks(func(stage string) outage {
							if stage == "lock" {
								s.faults.heal()
								back()
							}
							return outage{}
						})
					}
					return outage{}
				})
				if said := s.asked("", "already deployed"); len(said) != 1 {
					t.Errorf("said %q", said)
				}
				s.faults.heal()
			}
			at, id := s.head("/refship/config")
			if d, err := s.chain("/refship/config").Head(t.Context()); err != nil || d.Record.Pusher.Name == "laptop" ||
				d.Record.Pusher.Name == "ops" || id < 2 {
				t.Errorf("chain is at %d %s, %v", id, at, err)
			}
			if runs := s.journal.About("check"); len(runs) != 0 {
				t.Errorf("checks ran: %v", runs)
			}
			s.settled()
		})
	}
}

// Every way to deploy names what the frontend auto has picked; mgmt_frontends.txtar has the words.
func TestDeploySaysWhatAutoPicked(t *testing.T) {
	t.Parallel()
	auto := target.Target{Name: "default", Ref: "refs/heads/main", Namespace: "/_mgmt", Frontend: record.Auto}
	s := newSite(t, auto)
	const entry = "start.yaml"
	laptop := s.user("laptop")
	s.commit("start.yaml", "graph: one\n")
	r := laptop.push("main")
	r.published(t, 1)
	r.says(t, entry)
	s.commit("start.yaml", "graph: two\n")
	s.git(s.work, "push", "-q", s.bare, "main") // past the hooks
	if said := s.asked("", "deployed", "/_mgmt 2"); len(said) != 2 || !strings.Contains(said[0], entry) {
		t.Errorf("said %q", said)
	}
	s.commit("start.yaml", "graph: three\n")
	s.journal.When("post-receive-start", func() { s.put("/_mgmt/refship/hold", "not now") })
	laptop.push("main")
	s.del("/_mgmt/refship/hold")
	if said := s.reconcile(true, 3); len(said) != 2 || !strings.Contains(said[0], entry) {
		t.Errorf("said %q", said)
	}
	s.commit("start.yaml", "graph: four\n")
	s.journal.When("post-receive-start", func() { s.del("/_mgmt/refship/lock") })
	r = laptop.push("main")
	r.published(t, 4)
	if strings.Count(r.said, entry) != 1 {
		t.Errorf("said %s", r.said)
	}
}
