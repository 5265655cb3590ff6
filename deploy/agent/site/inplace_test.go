package site_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/agent/files"
	"refship/deploy/agent/site"
	"refship/deploy/fault"
	"refship/deploy/record"
)

func openInPlace(t testing.TB, dir string) *root {
	t.Helper()
	s, err := site.OpenInPlace(dir, "conf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return &root{t, dir, s}
}

// stage makes a release of files, up to where it is ready.
func (r *root) stage(id record.ID, contents map[string]string) *site.Release {
	r.Helper()
	release := releaseOf(id)
	if ready, err := r.Place(release, nil, false); err != nil || ready {
		r.Fatalf("ready is %v, %v", ready, err)
	}
	r.must(os.Mkdir(r.Dir(release), 0o755))
	for path, content := range contents {
		path = filepath.Join(r.Dir(release), path)
		r.must(os.MkdirAll(filepath.Dir(path), 0o755))
		r.must(os.WriteFile(path, []byte(content), 0o644))
	}
	dir, err := r.Open(release)
	r.must(err)
	defer dir.Close()
	looked, err := files.Compare(r.Context(), dir, nil, true)
	r.must(err)
	list, err := files.Take(r.Context(), dir, nil, looked.Differences)
	r.must(err)
	r.must(r.Ready(release, false, list))
	return release
}

// has checks what is in the directory: paths and contents, of a directory "/".
func (r *root) has(want ...string) {
	r.Helper()
	var got []string
	top := r.in("conf")
	r.must(filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		content := []byte("/")
		if !e.IsDir() {
			content, err = os.ReadFile(path)
		}
		got = append(got, path[len(top)+1:]+" "+string(content))
		return err
	}))
	if !slices.Equal(got, want) {
		r.Errorf("there is %q, want %q", got, want)
	}
}

// runs checks what runs; 0: nothing.
func (r *root) runs(id record.ID) {
	r.Helper()
	running, err := r.Running()
	r.must(err)
	if id == 0 && running != nil || id != 0 && !releaseOf(id).Is(running) {
		r.Errorf("%v runs, want %d", running, id)
	}
}

func noStep(string) {}

func TestFill(t *testing.T) {
	r := openInPlace(t, t.TempDir())
	r.runs(0)
	r.must(os.WriteFile(r.in("conf/mine"), []byte("mine"), 0o644))
	r.must(r.Fill(t.Context(), r.stage(1, map[string]string{"a": "1", "sub/b": "1", "sub/deep/c": "1"}), noStep))
	r.has("a 1", "mine mine", "sub /", "sub/b 1", "sub/deep /", "sub/deep/c 1")
	r.runs(1)
	r.must(r.Clean(3, 0))
	r.must(r.Close())
	r = openInPlace(t, r.dir)
	r.runs(1)
	r.must(os.WriteFile(r.in("conf/sub/mine"), nil, 0o644))
	r.must(r.Fill(t.Context(), r.stage(2, map[string]string{"a": "2", "new/d": "2"}), noStep))
	r.has("a 2", "mine mine", "new /", "new/d 2", "sub /", "sub/mine ")
	r.runs(2)
}

// A Fill that fails before it has replaced anything leaves nothing, and claims nothing: what is put there later is
// somebody's.
func TestFillFails(t *testing.T) {
	r := openInPlace(t, t.TempDir())
	fails := func(release *site.Release) {
		t.Helper()
		err := r.Fill(t.Context(), release, func(name string) {
			if name == "filling" {
				r.must(os.Remove(filepath.Join(r.Dir(release), "new/z")))
			}
		})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error is %v", err)
		}
	}
	broken := map[string]string{"a": "0", "new/y": "0", "new/z": "0"}
	fails(r.stage(1, broken))
	r.runs(0)
	r.has()
	r.must(r.Fill(t.Context(), r.stage(2, map[string]string{"a": "2"}), noStep))
	fails(r.stage(3, broken))
	r.runs(2)
	r.has("a 2")
	r.must(os.Mkdir(r.in("conf/new"), 0o755))
	r.must(os.WriteFile(r.in("conf/new/y"), []byte("mine"), 0o644))
	r.must(r.Fill(t.Context(), r.stage(4, map[string]string{"b": "4"}), noStep))
	r.has("b 4", "new /", "new/y mine")
	if err := r.Fill(t.Context(), r.stage(5, broken), noStep); !fault.Is(err, fault.Refused) ||
		!strings.Contains(err.Error(), "new/y is in the directory already") {
		t.Errorf("error is %v", err)
	}
	r.runs(4)
	r.has("b 4", "new /", "new/y mine")
}

// A process that dies in a Fill leaves what the next one needs to know: here it is the test that stops there.
func TestFillIsBrokenOff(t *testing.T) {
	for _, at := range []string{"filling", files.StepWritten, files.StepReplaced, files.StepRemoving, "listed"} {
		t.Run(at, func(t *testing.T) {
			r := openInPlace(t, t.TempDir())
			r.must(os.WriteFile(r.in("conf/mine"), nil, 0o644))
			r.must(r.Fill(t.Context(), r.stage(1, map[string]string{"a": "1", "b/c": "1", "b/d": "1", "x": "same"}), noStep))
			next := r.stage(2, map[string]string{"a": "2", "b": "2", "new/e": "2", "x": "same"})
			died := errors.New("died")
			func() {
				defer func() {
					if is := recover(); is != died { //nolint:errorlint // it is that very one
						t.Errorf("it is not broken off: %v", is)
					}
				}()
				t.Error(r.Fill(t.Context(), next, func(name string) {
					if name == at {
						panic(died)
					}
				}))
			}()
			if at == files.StepReplaced {
				r.runs(0)
			}
			r.must(r.Close())
			r = openInPlace(t, r.dir)
			// Another release than the one that was broken off comes next.
			r.must(r.Fill(t.Context(), r.stage(3, map[string]string{"a": "3", "b/d": "3", "x": "same"}), noStep))
			r.has("a 3", "b /", "b/d 3", "mine ", "x same")
			r.runs(3)
		})
	}
}

// A directory that was removed, or lost with the memory that it was in, is filled anew.
func TestDirectoryIsLost(t *testing.T) {
	for _, c := range []struct {
		name         string
		lose         func(*root)
		whileStopped bool
	}{
		{"removed", func(r *root) { r.must(os.RemoveAll(r.in("conf"))) }, false},
		{"removed while nobody ran", func(r *root) { r.must(os.RemoveAll(r.in("conf"))) }, true},
		{"made anew", func(r *root) {
			r.must(os.Rename(r.in("conf"), r.in("away")))
			r.must(os.Mkdir(r.in("conf"), 0o755))
			r.must(os.WriteFile(r.in("conf/mine"), nil, 0o644))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := openInPlace(t, t.TempDir())
			contents := map[string]string{"sub/a": "1"}
			r.must(r.Fill(t.Context(), r.stage(1, contents), noStep))
			r.must(r.Clean(0, 0))
			r.runs(1)
			if c.whileStopped {
				r.must(r.Close())
			}
			c.lose(r)
			if c.whileStopped {
				r = openInPlace(t, r.dir)
			}
			r.runs(0)
			r.runs(0)
			r.must(r.Fill(t.Context(), r.stage(1, contents), noStep))
			r.runs(1)
			if content, err := os.ReadFile(r.in("conf/sub/a")); err != nil || string(content) != "1" {
				t.Errorf("there is %q, %v", content, err)
			}
		})
	}
}

func TestInPlaceWantsADirectory(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"a link":  func(path string) error { return os.Symlink(t.TempDir(), path) },
		"a file":  func(path string) error { return os.WriteFile(path, nil, 0o644) },
		"a FIFO":  func(path string) error { return unix.Mkfifo(path, 0o600) },
		"no link": func(path string) error { return os.Symlink("nowhere", path) },
	} {
		path := filepath.Join(dir, "conf")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		s, err := site.OpenInPlace(dir, "conf")
		if err == nil || !strings.Contains(err.Error(), "is no directory") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := site.OpenInPlace(filepath.Join(dir, "conf/node"), filepath.Join(dir, "conf")); !fault.Is(err, fault.Usage) {
		t.Errorf("the root is in the directory: %v", err)
	}
}
