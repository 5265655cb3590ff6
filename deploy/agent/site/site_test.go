package site_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// root is a node's directory in a test.
type root struct {
	testing.TB
	dir string
	*site.Site
}

func open(t testing.TB, dir string) *root {
	t.Helper()
	s, err := site.Open(dir, "current")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return &root{t, dir, s}
}

// again closes it, as the end of a process does, and opens it.
func (r *root) again() *root {
	r.Helper()
	r.must(r.Close())
	return open(r.TB, r.dir)
}

func (r *root) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *root) in(path string) string { return filepath.Join(r.dir, path) }

func releaseOf(id record.ID) *site.Release {
	hash := record.Hash(strings.Repeat(id.String()[:1], 40))
	return &site.Release{ID: id, Hash: hash, Record: strings.Repeat("a", 64), Name: id.String() + "-" + string(hash)}
}

// place makes a release up to where it is ready.
func (r *root) place(release *site.Release, content string) {
	r.Helper()
	running, err := r.Running()
	r.must(err)
	ready, err := r.Place(release, running, false)
	if err != nil || ready {
		r.Fatalf("ready is %v, %v", ready, err)
	}
	r.must(os.Mkdir(r.Dir(release), 0o755))
	r.must(os.WriteFile(filepath.Join(r.Dir(release), "file"), []byte(content), 0o644))
	r.must(r.Ready(release, false, nil))
}

func (r *root) run(id record.ID) *site.Release {
	r.Helper()
	release := releaseOf(id)
	running, err := r.Running()
	r.must(err)
	r.place(release, id.String())
	r.must(r.Switch(release, running, func() {}))
	return release
}

// wants checks what the link leads to, and which releases there are.
func (r *root) wants(content string, releases ...record.ID) {
	r.Helper()
	if got, err := os.ReadFile(r.in("current/file")); err != nil || string(got) != content {
		r.Errorf("there runs %q, %v, want %q", got, err, content)
	}
	entries, err := os.ReadDir(r.in(".worktrees"))
	r.must(err)
	var names, want []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, id := range releases {
		want = append(want, releaseOf(id).Name)
	}
	if !slices.Equal(names, want) {
		r.Errorf("there are %q, want %q", names, want)
	}
}

func TestSwitch(t *testing.T) {
	r := open(t, t.TempDir())
	if running, err := r.Running(); err != nil || running != nil {
		t.Errorf("%v runs, %v", running, err)
	}
	r.run(1)
	r.wants("1", 1)
	start := time.Now().Add(-time.Minute)
	two := r.run(2)
	r = r.again()
	r.wants("2", 1, 2)
	if running, err := r.Running(); err != nil || !running.Is(two) || running.Since.Before(start) {
		t.Errorf("%v runs, %v, want %v", running, err, two)
	}
	if target, err := os.Readlink(r.in("current")); err != nil || target != ".worktrees/"+two.Name {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	for path, want := range map[string]fs.FileMode{".worktrees": 0o755, ".refship": 0o700, ".refship/seen": 0o600} {
		r.must(r.Remember(&site.Seen{ID: 2}))
		if info, err := os.Stat(r.in(path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has %v, %v", path, info.Mode(), err)
		}
	}
}

// Old releases go by number and age, and what runs stays.
func TestClean(t *testing.T) {
	r := open(t, t.TempDir())
	for id := range record.ID(5) {
		r.run(id + 1)
	}
	r.must(r.Clean(0, time.Hour))
	r.wants("5", 1, 2, 3, 4, 5)
	old := time.Now().Add(-2 * time.Hour)
	r.must(os.Chtimes(r.in(".refship/releases/"+releaseOf(2).Name), old, old))
	r.must(r.Clean(0, time.Hour))
	r.wants("5", 1, 3, 4, 5)
	r.must(r.Clean(2, 0))
	r.wants("5", 3, 4, 5)
	r.must(os.Chmod(r.Dir(releaseOf(3)), 0o500)) // as a command may leave it
	r.must(r.Clean(0, 0))
	r.wants("5", 5)
	if left, err := os.ReadDir(r.in(".refship/releases")); err != nil || len(left) != 1 {
		t.Errorf("files of releases: %v, %v", left, err)
	}
}

// What a killed process left goes at the next start; what is ready is used.
func TestRemains(t *testing.T) {
	r := open(t, t.TempDir())
	r.run(1)
	r.place(releaseOf(2), "ready")
	r.must(os.Mkdir(r.in(".worktrees/.refship-ABC"), 0o755))
	r.must(os.Mkdir(r.Dir(releaseOf(3)), 0o755)) // fetched, and not prepared
	r.must(os.Symlink("nowhere", r.in(".current.123.refship-tmp")))
	r.must(os.WriteFile(r.in(".refship/releases/.x.1.refship-tmp"), nil, 0o600))
	r.must(os.WriteFile(r.in(".refship/releases/9-gone"), []byte("{}"), 0o600))
	r.must(os.Symlink("/etc", r.in(".worktrees/7-link")))
	r = r.again()
	r.wants("1", 1, 2)
	for dir, want := range map[string]int{".refship/releases": 2, ".": 3} {
		if left, err := os.ReadDir(r.in(dir)); err != nil || len(left) != want {
			t.Errorf("in %s there is %v, %v", dir, left, err)
		}
	}
	if ready, err := r.Place(releaseOf(2), releaseOf(1), false); err != nil || !ready {
		t.Errorf("ready is %v, %v", ready, err)
	}
	other := releaseOf(2)
	other.Record = strings.Repeat("b", 64)
	if ready, err := r.Place(other, releaseOf(1), false); err != nil || ready {
		t.Errorf("another record: ready is %v, %v", ready, err)
	}
	r.wants("1", 1)
}

// Another chain may have had the same commit under the same number: the one that runs is not touched.
func TestSameNameInAnotherChain(t *testing.T) {
	r := open(t, t.TempDir())
	one := r.run(1)
	other := releaseOf(1)
	other.Record = strings.Repeat("b", 64)
	r.place(other, "other")
	r.wants2("1", one.Name, other.Name)
	r.must(r.Switch(other, one, func() {}))
	if running, err := r.Running(); err != nil || !running.Is(other) {
		t.Errorf("%v runs, %v", running, err)
	}
}

func (r *root) wants2(content string, names ...string) {
	r.Helper()
	if got, err := os.ReadFile(r.in("current/file")); err != nil || string(got) != content {
		r.Errorf("there runs %q, %v, want %q", got, err, content)
	}
	for _, name := range names {
		if _, err := os.Stat(r.in(".worktrees/" + name)); err != nil {
			r.Error(err)
		}
	}
}

// What is at the link's place and is no link is somebody's.
func TestLinkIsSomethingElse(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"directory": func(path string) error { return os.MkdirAll(path+"/kept", 0o755) },
		"file":      func(path string) error { return os.WriteFile(path, []byte("kept"), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, t.TempDir())
			running := r.run(1)
			r.place(releaseOf(2), "2")
			r.must(os.Remove(r.in("current")))
			r.must(put(r.in("current")))
			before := r.describe()
			err := r.Switch(releaseOf(2), running, func() {})
			fixture.WantFault(t, fault.Failed, err, "is no link", "move it away")
			if _, err := r.Running(); err == nil {
				t.Error("there is no error of what runs")
			}
			if err := r.Clean(0, 0); err == nil {
				t.Error("releases are removed, though it is not known which one runs")
			}
			if after := r.describe(); !slices.Equal(before, after) {
				t.Errorf("before %q, after %q", before, after)
			}
			r = r.again()
			r.must(os.RemoveAll(r.in("current")))
			r.must(r.Switch(releaseOf(2), nil, func() {}))
			if got, err := os.ReadFile(r.in("current/file")); err != nil || string(got) != "2" {
				t.Errorf("there runs %q, %v", got, err)
			}
		})
	}
}

func (r *root) describe() (all []string) {
	r.Helper()
	r.must(filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		all = append(all, path+" "+e.Type().String())
		return err
	}))
	return all
}

// A link that leads to another place, such as that of git-sync, is replaced, and what it led to stays for now.
func TestLinkOfAnotherProgram(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, ".worktrees/0123"), 0o755),
		os.Symlink(".worktrees/0123", filepath.Join(dir, "current")),
		os.WriteFile(filepath.Join(dir, ".worktrees/0123/file"), []byte("git-sync's"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, dir)
	r.wants2("git-sync's")
	running, err := r.Running()
	if err != nil || running == nil || running.ID != 0 {
		t.Fatalf("%v runs, %v", running, err)
	}
	r.run(1)
	r.wants2("1", "0123")
	r.again().wants("1", 1)
}

// Nothing is written or removed through a link that somebody has put below the root.
func TestNotThroughLinks(t *testing.T) {
	victim := t.TempDir()
	if err := os.WriteFile(filepath.Join(victim, "kept"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := open(t, t.TempDir())
	r.run(1)
	two := releaseOf(2)
	r.place(two, "2")
	r.must(os.RemoveAll(r.Dir(two)))
	r.must(os.Symlink(victim, r.Dir(two)))
	if ready, err := r.Place(two, releaseOf(1), false); err != nil || ready {
		t.Errorf("a link is ready: %v, %v", ready, err)
	}
	// The whole directory is another one now: the one that was opened is used.
	r.must(os.Rename(r.in(".refship"), r.in("moved")))
	r.must(os.Symlink(victim, r.in(".refship")))
	r.must(r.Remember(&site.Seen{ID: 7}))
	if left, err := os.ReadDir(victim); err != nil || len(left) != 1 {
		t.Errorf("there is %v, %v", left, err)
	}
	if seen, err := r.Seen(); err != nil || seen.ID != 7 {
		t.Errorf("seen is %v, %v", seen, err)
	}
}

func TestAccept(t *testing.T) {
	r := open(t, t.TempDir())
	was, is := site.Seen{ID: 7, Hash: "tree:" + record.Hash(strings.Repeat("1", 40))}, site.Seen{ID: 3}
	r.must(r.Remember(&was))
	r.must(r.Refuse(&site.Refusal{Was: was, Is: is, Why: "it is older"}))
	if r.HasAccepted() {
		t.Error("accepted, and nobody has said so")
	}
	refused, err := site.Accept(r.dir)
	if err != nil || refused.Is != is {
		t.Fatalf("%v, %v", refused, err)
	}
	if accepted, err := r.Accepted(); err != nil || *accepted != is || !r.HasAccepted() {
		t.Errorf("%v, %v", accepted, err)
	}
	r.must(r.Remember(&is))
	if r.HasAccepted() {
		t.Error("it stays accepted")
	}
	_, err = site.Accept(r.dir)
	fixture.WantFault(t, fault.Failed, err, "has refused no deploy", "")
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	_, err := site.Open(dir, "current")
	fixture.WantFault(t, fault.Conflict, err, "another agent uses", "a root of its own")
	r.must(r.Close())
	for _, link := range []string{"../x", ".", ".worktrees", ".refship/x"} {
		_, err := site.Open(dir, link)
		fixture.WantFault(t, fault.Usage, err, "link", "")
	}
	_, err = site.Open(dir, "missing/current")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link in a directory that is missing: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "current")
	s, err := site.Open(dir, elsewhere)
	r.must(err)
	other := &root{t, dir, s}
	other.run(1)
	if content, err := os.ReadFile(filepath.Join(elsewhere, "file")); err != nil || string(content) != "1" {
		t.Errorf("there runs %q, %v", content, err)
	}
	r.must(s.Close())
}
