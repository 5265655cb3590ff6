package install_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/hooks/install"
)

// When the process is killed at any step of install, upgrade and uninstall, no hook is half written, no earlier one is
// lost, a push is what it was or is handled by refship, the next run finishes, and uninstall gives everything back.
func TestInstallKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for _, earlier := range []bool{true, false} {
		for _, verb := range []string{"install", "upgrade", "uninstall"} {
			t.Run(fmt.Sprintf("%s, earlier hooks: %v", verb, earlier), func(t *testing.T) {
				t.Parallel()
				var steps []string
				for n := 1; ; n++ {
					step := killOnce(t, verb, earlier, n)
					if step == "" {
						break
					}
					steps = append(steps, step)
				}
				least := map[string][]string{
					"install": {"leftovers", "config", "config-locked", "recorded", "manifest", "post-receive",
						"pre-receive", "manifest-last", "end"},
					"upgrade": {"leftovers", "config", "manifest", "post-receive", "pre-receive", "manifest-last",
						"end"},
					"uninstall": {"leftovers", "pre-receive", "intents", "post-receive", "config", "config-locked",
						"pending", "state", "manifest", "end"},
				}[verb]
				if earlier && verb == "install" {
					least = append(least, "post-receive-linked", "pre-receive-linked")
				}
				for _, step := range least {
					if !slices.Contains(steps, step) {
						t.Errorf("no process was killed at %s: %q", step, steps)
					}
				}
			})
		}
	}
}

// killOnce gives the step; "": the run has fewer steps.
func killOnce(t *testing.T, verb string, earlier bool, n int) (step string) {
	s := newSite(t)
	if earlier {
		s.withEarlier()
	}
	s.put(filepath.Join(s.gitDir, "config"), strings.TrimSuffix(s.read(filepath.Join(s.gitDir, "config")), "\n"), 0o640)
	before := snapshot(t, s.gitDir)
	order := childOrder{Repo: s.repo, Program: s.program, KillAt: n}
	switch verb {
	case "upgrade":
		s.install()
		order.Program = filepath.Join(s.dir, "newer", "refship")
		s.put(order.Program, stub, 0o755)
	case "uninstall":
		s.install()
		order.Program = ""
	}
	if step = s.runChild(order); step == "" {
		return ""
	}
	where := fmt.Sprintf("%s killed at %s", verb, step)
	s.wantWhole(where, earlier)
	s.wantHandled(where, earlier)
	// A lock of git's config stays for as long as it may be in use.
	long := time.Now().Add(-time.Minute)
	for _, name := range []string{"config.lock", "config.refship"} {
		if _, err := os.Lstat(filepath.Join(s.gitDir, name)); err != nil {
			continue
		}
		if err := os.Chtimes(filepath.Join(s.gitDir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if verb != "uninstall" || n%2 == 0 {
		if verb == "upgrade" {
			s.program = order.Program
		}
		s.install()
		if found := s.inspect(); !found.Complete() {
			t.Errorf("%s, installed again: %+v", where, found)
		}
		if c := s.install(); c.Changed() {
			t.Errorf("%s, installed again and again: %q", where, c.Done)
		}
		if r := s.push("main"); !r.ok || len(r.stub) != 2 ||
			len(r.earlier) != map[bool]int{false: 0, true: 2}[earlier] {
			t.Errorf("%s, installed again: %+v", where, r)
		}
	}
	s.uninstall()
	if diff := cmp.Diff(before, snapshot(t, s.gitDir)); diff != "" {
		t.Errorf("%s, uninstalled: not as before (-before +after):\n%s", where, diff)
	}
	return step
}

// wantWhole looks at each hook file.
func (s *site) wantWhole(where string, earlier bool) {
	s.Helper()
	for name, theirs := range map[string]string{"pre-receive": earlierPre, "post-receive": earlierPost} {
		there := func(file string) string {
			text, _ := os.ReadFile(filepath.Join(s.hooks, file))
			return string(text)
		}
		hook, aside := there(name), there(name+".before-refship")
		switch {
		case earlier && hook != theirs && aside != theirs:
			s.Errorf("%s: the earlier %s is lost", where, name)
		case earlier && hook == "":
			s.Errorf("%s: there is no %s", where, name)
		case !earlier && aside != "":
			s.Errorf("%s: %s is set aside, and was not there", where, name)
		}
		if hook != "" && hook != theirs && !install.IsScript(hook, name) {
			s.Errorf("%s: %s is half written:\n%s", where, name, hook)
		}
	}
}

// wantHandled pushes: earlier hooks run once and can refuse, and what refship prepares it also publishes.
func (s *site) wantHandled(where string, earlier bool) {
	s.Helper()
	ran := func(lines []string, hook string) (n int) {
		for _, l := range lines {
			if strings.HasPrefix(l, hook) {
				n++
			}
		}
		return n
	}
	r := s.push("main")
	if !r.ok || ran(r.stub, "pre-receive") > ran(r.stub, "post-receive") {
		s.Errorf("%s: push: %+v", where, r)
	}
	r = s.push("no")
	if earlier && (r.ok || ran(r.earlier, "pre ") != 1) || !earlier && !r.ok {
		s.Errorf("%s: push of what the earlier hook refuses: %+v", where, r)
	}
	if r = s.push("main"); earlier && (ran(r.earlier, "pre ") != 1 || ran(r.earlier, "post ") != 1) {
		s.Errorf("%s: earlier hooks: %+v", where, r)
	}
}
