package store_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/text"
)

// described gives the paths, kinds, permissions and contents below a directory.
func described(t *testing.T, root string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		what := ""
		switch {
		case info.Mode().IsRegular():
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what = string(content)
		case info.Mode()&os.ModeSymlink != 0:
			if what, err = os.Readlink(path); err != nil {
				return err
			}
		}
		all = append(all, strings.Join([]string{path[len(root):], info.Mode().String(), what}, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What an earlier checkout still has right is not read from etcd. Whatever was done to it since, the new one is right, and
// shares nothing with it.
func TestCheckoutAfter(t *testing.T) {
	large := strings.Repeat("large ", 300_000)
	all := dir{
		"same": "same", "changed": "right", "grown": "grown", "gone": "gone", "fifo": "fifo", "linked": "linked",
		"large": large, "link": link("same"), "relinked": link("changed"), "isdir": "isdir",
		"sub": dir{"deep": dir{"file": "deep"}}, "swapped": dir{"file": "swapped"}, "new": "new in 2",
	}
	b := newBundle()
	chain := store.New(b, namespace)
	first := dir{}
	for name, value := range all {
		if name != "new" {
			first[name] = value
		}
	}
	b.deploy(t, chain, 1, 13, first)
	b.deploy(t, chain, 2, 14, all)
	scratch := t.TempDir()
	in := func(path string) string { return filepath.Join(scratch, path) }
	get := func(id record.ID) *record.Deploy {
		d, err := chain.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if err := chain.Checkout(t.Context(), get(1), in("one"), quiet); err != nil {
		t.Fatal(err)
	}
	if err := chain.Checkout(t.Context(), get(2), in("want"), quiet); err != nil {
		t.Fatal(err)
	}
	// What commands do in a directory, and worse.
	for path, content := range map[string]string{"changed": "wrong", "grown": "grown and more", "same2": "added"} {
		if err := os.WriteFile(in("one/"+path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Remove(in("one/gone")), os.Remove(in("one/fifo")), unix.Mkfifo(in("one/fifo"), 0o600),
		os.Remove(in("one/relinked")), os.Symlink("elsewhere", in("one/relinked")),
		os.Remove(in("one/linked")), os.Symlink("/etc/passwd", in("one/linked")),
		os.Remove(in("one/isdir")), os.Mkdir(in("one/isdir"), 0o755),
		os.RemoveAll(in("one/swapped")), os.Symlink("sub/deep", in("one/swapped")),
		os.Chmod(in("one/same"), 0o4755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.OpenRoot(in("one"))
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	b.asked = map[string]int{}
	err = chain.CheckoutAfter(t.Context(), get(2), in("two"), store.Earlier{Root: before}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if want, got := described(t, in("want")), described(t, in("two")); !slices.Equal(want, got) {
		t.Errorf("it is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for content, fetched := range map[string]bool{
		"same": false, "deep": false, "right": true, "grown": true, "gone": true, "fifo": true, "linked": true,
		"changed": true, "isdir": true, "swapped": true, "new in 2": true,
	} {
		if asked := b.asked[chain.ContentKey(sha256.Sum256([]byte(content)))]; (asked > 0) != fetched {
			t.Errorf("%q was asked for %d times", content, asked)
		}
	}
	if b.asked[chain.ContentKey(sha256.Sum256([]byte(large)))+"/0"] > 0 {
		t.Error("the large file was fetched")
	}
	// A writer of the new directory does not reach the old one.
	if err := os.WriteFile(in("two/large"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(in("one/large")); err != nil || string(content) != large {
		t.Errorf("the earlier file has %d bytes, %v", len(content), err)
	}
}

// An earlier checkout that cannot be opened any more is no reason to fail: all comes from etcd then.
func TestCheckoutAfterOneThatCannotBeOpened(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	b.deploy(t, chain, 1, 2, dir{"a": dir{"x": "1"}, "y": "2"})
	d, err := chain.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "to")
	if err := chain.CheckoutAfter(t.Context(), d, to, store.Earlier{Root: gone}, quiet); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"a/x": "1", "y": "2"} {
		if got, err := os.ReadFile(filepath.Join(to, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// Directories that are known are not read again, over another connection, and others are.
func TestCheckoutWithKnownNodes(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	b.deploy(t, chain, 1, 2, dir{"a": dir{"x": "1"}, "b": dir{"y": "2"}})
	b.deploy(t, chain, 2, 2, dir{"a": dir{"x": "1"}, "b": dir{"y": "3"}})
	one, err := chain.Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	two, err := chain.Get(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	nodes := chain.NewNodes()
	scratch := t.TempDir()
	err = chain.CheckoutAfter(t.Context(), one, filepath.Join(scratch, "one"), store.Earlier{Nodes: nodes}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	again := store.New(b, namespace)
	kept := again.Kept(t.Context(), nodes, one.Record.Root())
	b.asked = map[string]int{}
	err = again.CheckoutAfter(t.Context(), two, filepath.Join(scratch, "two"), store.Earlier{Nodes: kept}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for key := range b.asked {
		if strings.Contains(key, "/refship/tree/") {
			read++
		}
	}
	if read != 2 { // the root and b
		t.Errorf("%d directories were read: %v", read, b.asked)
	}
}

func quiet(text.Progress) {}
