package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"refship/deploy/agent/files"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/tree"
)

func TestMain(m *testing.M) { fixture.Main(m) }

// dir is a directory with a list of what it should have.
type dir struct {
	testing.TB
	path     string
	root     *os.Root
	list     files.List
	contents map[string]string // of files and links, by path
}

// newDir makes a directory with a file, an executable one, a link, a directory with a file, and an empty one.
func newDir(t testing.TB) *dir {
	d := &dir{TB: t, path: t.TempDir(), contents: map[string]string{
		"page": "one", "run": "two", "link": "page", "sub/file": "three", "sub/deep/file": "four",
	}}
	root, err := os.OpenRoot(d.path)
	d.must(err)
	t.Cleanup(func() { _ = root.Close() }) // it is only read
	d.root = root
	for _, e := range []struct {
		path string
		mode uint32
	}{
		{"page", unix.S_IFREG | 0o644},
		{"run", unix.S_IFREG | 0o755},
		{"link", unix.S_IFLNK | 0o777},
		{"sub", unix.S_IFDIR | 0o755},
		{"sub/file", unix.S_IFREG | 0o600},
		{"sub/deep", unix.S_IFDIR | 0o755},
		{"sub/deep/file", unix.S_IFREG | 0o644},
		{"empty", unix.S_IFDIR | 0o755},
	} {
		entry := files.Entry{Path: e.path, Mode: e.mode}
		if content, ok := d.contents[e.path]; ok {
			entry.Size, entry.SHA256 = int64(len(content)), sha256.Sum256([]byte(content))
			entry.OID = tree.HashObject(tree.FormatSHA1, "blob", []byte(content))
		}
		d.list = append(d.list, entry)
	}
	d.mend(nil)
	return d
}

func (d *dir) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *dir) in(path string) string { return filepath.Join(d.path, path) }

// look gives what differs, in words.
func (d *dir) look(extra bool) (words []string, learned bool) {
	d.Helper()
	looked, err := files.Compare(d.Context(), d.root, d.list, extra)
	d.must(err)
	for i := range looked.Differences {
		words = append(words, looked.Differences[i].String())
	}
	return words, looked.Learned
}

// mender gives the list's contents.
func (d *dir) mender() *files.Mender {
	return &files.Mender{
		Root: d.root, Step: func(string) {},
		Content: func(_ context.Context, e *files.Entry, to io.Writer) error {
			_, err := io.WriteString(to, d.contents[e.Path])
			return err
		},
	}
}

// mend makes the directory right.
func (d *dir) mend(gone files.List) {
	d.Helper()
	looked, err := files.Compare(d.Context(), d.root, d.list, true)
	d.must(err)
	d.must(d.mender().Mend(d.Context(), looked.Differences, gone))
	d.right()
}

func (d *dir) right() {
	d.Helper()
	if words, _ := d.look(true); words != nil {
		d.Errorf("after mending: %q", words)
	}
	d.must(filepath.WalkDir(d.path, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".refship-tmp") {
			d.Errorf("there is still %s", path)
		}
		return err
	}))
}

func TestDriftIsFoundAndMended(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*dir) error
		want   []string
		hidden []string // of want, where nothing is asked about what is extra
	}{
		{"content", func(d *dir) error { return os.WriteFile(d.in("page"), []byte("ONE"), 0o644) },
			[]string{"page has changed"}, nil},
		{"size", func(d *dir) error { return os.WriteFile(d.in("page"), []byte("longer"), 0o644) },
			[]string{"page has changed"}, nil},
		{"mode", func(d *dir) error { return os.Chmod(d.in("run"), 0o600) },
			[]string{"run has mode 0600, not 0755"}, nil},
		{"missing", func(d *dir) error { return os.Remove(d.in("sub/file")) },
			[]string{"sub/file is missing"}, nil},
		{"a directory is missing", func(d *dir) error { return os.RemoveAll(d.in("sub")) },
			[]string{"sub is missing", "sub/file is missing", "sub/deep is missing", "sub/deep/file is missing"}, nil},
		{"extra", func(d *dir) error {
			return errors.Join(os.MkdirAll(d.in("sub/new/deep"), 0o755), os.WriteFile(d.in("a b"), nil, 0o644))
		}, []string{"sub/new is extra", "a b is extra"}, []string{"sub/new is extra", "a b is extra"}},
		{"an extra directory that nobody may read", func(d *dir) error {
			return errors.Join(os.MkdirAll(d.in("new/deep"), 0o755), os.Chmod(d.in("new/deep"), 0), os.Chmod(d.in("new"), 0))
		}, []string{"new is extra"}, []string{"new is extra"}},
		{"link", func(d *dir) error {
			return errors.Join(os.Remove(d.in("link")), os.Symlink("run", d.in("link")))
		}, []string{"link has changed"}, nil},
		{"a file in place of a link", func(d *dir) error {
			return errors.Join(os.Remove(d.in("link")), os.WriteFile(d.in("link"), []byte("one"), 0o644))
		}, []string{"link is a file, not a symbolic link"}, nil},
		{"a link in place of a file", func(d *dir) error {
			return errors.Join(os.Rename(d.in("page"), d.in("sub/old")), os.Symlink("sub/old", d.in("page")))
		}, []string{"page is a symbolic link, not a file", "sub/old is extra"}, []string{"sub/old is extra"}},
		{"a directory in place of a file", func(d *dir) error {
			return errors.Join(os.Remove(d.in("page")), os.MkdirAll(d.in("page/x/y"), 0o755))
		}, []string{"page is a directory, not a file"}, nil},
		{"a file in place of a directory", func(d *dir) error {
			return errors.Join(os.RemoveAll(d.in("empty")), os.WriteFile(d.in("empty"), nil, 0o644))
		}, []string{"empty is a file, not a directory"}, nil},
		{"a link in place of a directory", func(d *dir) error {
			return errors.Join(os.RemoveAll(d.in("sub/deep")), os.Symlink(d.TempDir(), d.in("sub/deep")))
		}, []string{"sub/deep is a symbolic link, not a directory", "sub/deep/file is missing"}, nil},
		{"a FIFO in place of a file", func(d *dir) error {
			return errors.Join(os.Remove(d.in("run")), unix.Mkfifo(d.in("run"), 0o755))
		}, []string{"run is something else, not a file"}, nil},
		{"a directory's mode", func(d *dir) error { return os.Chmod(d.in("sub"), 0o700) },
			[]string{"sub has mode 0700, not 0755"}, []string{"sub has mode 0700, not 0755"}},
		{"the same content anew", func(d *dir) error {
			return errors.Join(os.Remove(d.in("page")), os.WriteFile(d.in("page"), []byte("one"), 0o644))
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			d.must(c.change(d))
			got, _ := d.look(true)
			slices.Sort(got)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("what differs (-want +got):\n%s", diff)
			}
			open := slices.DeleteFunc(slices.Clone(c.want), func(w string) bool { return slices.Contains(c.hidden, w) })
			got, _ = d.look(false)
			slices.Sort(got)
			if diff := cmp.Diff(open, got); diff != "" && len(open)+len(got) > 0 {
				t.Errorf("what differs but for extra (-want +got):\n%s", diff)
			}
			d.mend(nil)
		})
	}
}

// A file that looks as it did is not read again, and what looks other is.
func TestWhatLooksTheSameIsNotRead(t *testing.T) {
	d := newDir(t)
	if _, learned := d.look(true); learned {
		t.Error("a file that was just written is believed by its looks")
	}
	old := time.Now().Add(-2 * time.Second)
	for fixture := true; fixture; { // until the clock is on
		_, learned := d.look(true)
		fixture = !learned
		if time.Since(old) > time.Minute {
			t.Fatal("what files look like is never learned")
		}
		time.Sleep(10 * time.Millisecond)
	}
	page := &d.list[0]
	if page.Seen == (files.Seen{}) {
		t.Fatal("what page looks like was not learned")
	}
	page.SHA256 = sha256.Sum256(nil)
	if words, _ := d.look(true); words != nil {
		t.Errorf("page was read again: %q", words)
	}
	d.must(os.Chtimes(d.in("page"), old, old))
	if words, _ := d.look(true); !slices.Equal(words, []string{"page has changed"}) {
		t.Errorf("page was not read again: %q", words)
	}
}

func TestListRoundTrip(t *testing.T) {
	d := newDir(t)
	d.list = append(d.list, files.Entry{Path: "odd\n\t \xff", Mode: unix.S_IFREG, Size: 1 << 40, Seen: files.Seen{
		Inode: 1<<64 - 1, Mtime: -1, Ctime: 1 << 62,
	}})
	var text bytes.Buffer
	d.must(d.list.Write(&text))
	read, err := files.Read(bytes.NewReader(text.Bytes()))
	d.must(err)
	if diff := cmp.Diff(d.list, read, cmp.Comparer(func(a, b tree.OID) bool { return a == b })); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	for cut := range text.Len() {
		if _, err := files.Read(bytes.NewReader(text.Bytes()[:cut])); err == nil {
			t.Errorf("a list that is cut off after %d bytes is read", cut)
		}
	}
	for _, path := range []string{"", "/", "a//b", "../a", "a/..", "."} {
		var text bytes.Buffer
		d.must(files.List{{Path: path, Mode: unix.S_IFDIR}}.Write(&text))
		if _, err := files.Read(&text); err == nil {
			t.Errorf("a list with path %q is read", path)
		}
	}
}

// What a command has made and changed is right afterwards, and is known to be made.
func TestTake(t *testing.T) {
	d := newDir(t)
	d.must(errors.Join(
		os.WriteFile(d.in("page"), []byte("changed"), 0o644), os.Chmod(d.in("run"), 0o700), os.RemoveAll(d.in("sub/deep")),
		os.MkdirAll(d.in("new/sub"), 0o750), os.WriteFile(d.in("new/sub/file"), []byte("new"), 0o600),
		os.Symlink("x", d.in("new/link")), os.Remove(d.in("link")), os.Mkdir(d.in("link"), 0o755),
		os.WriteFile(d.in("link/file"), nil, 0o644), unix.Mkfifo(d.in("pipe"), 0o600),
	))
	looked, err := files.Compare(t.Context(), d.root, d.list, true)
	d.must(err)
	d.list, err = files.Take(t.Context(), d.root, d.list, looked.Differences)
	d.must(err)
	if words, _ := d.look(true); words != nil {
		t.Errorf("%q differ", words)
	}
	var made []string
	for i := range d.list {
		if d.list[i].IsMade() {
			made = append(made, d.list[i].Path)
		}
	}
	slices.Sort(made)
	if want := []string{"link/file", "new/link", "new/sub/file", "page", "pipe"}; !slices.Equal(made, want) {
		t.Errorf("made are %q, want %q", made, want)
	}
	d.must(os.WriteFile(d.in("new/sub/file"), []byte("NEW"), 0o600))
	if words, _ := d.look(true); !slices.Equal(words, []string{"new/sub/file has changed"}) {
		t.Errorf("%q differ", words)
	}
}

// What no deploy has brought stays, and is not replaced: then nothing is done at all.
func TestMendKeepsWhatIsNotItsOwn(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*dir) error
	}{
		{"a file", func(d *dir) error { return os.WriteFile(d.in("new"), []byte("mine"), 0o644) }},
		{"a link", func(d *dir) error { return os.Symlink("page", d.in("new")) }},
		{"a directory", func(d *dir) error { return os.Mkdir(d.in("new"), 0o755) }},
		{"a file in a directory that should be a file", func(d *dir) error {
			return errors.Join(os.Remove(d.in("page")), os.Mkdir(d.in("page"), 0o755), os.WriteFile(d.in("page/x"), nil, 0o644))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDir(t)
			m := d.mender()
			m.May = d.list.Has()
			m.Begin = func() error { return errors.New("it has begun") }
			d.must(os.WriteFile(d.in("run"), []byte("changed"), 0o755))
			d.must(c.make(d))
			d.contents["new"] = "theirs"
			d.list = append(d.list, files.Entry{
				Path: "new", Mode: unix.S_IFREG | 0o644, Size: 6, SHA256: sha256.Sum256([]byte("theirs")),
			})
			looked, err := files.Compare(t.Context(), d.root, d.list, false)
			d.must(err)
			before, _ := d.look(true)
			if err := m.Mend(t.Context(), looked.Differences, nil); !fault.Is(err, fault.Refused) {
				t.Errorf("error is %v", err)
			}
			if after, _ := d.look(true); !slices.Equal(before, after) {
				t.Errorf("%q differ, before %q", after, before)
			}
		})
	}
}

// Removals are of what is still what a deploy brought.
func TestGone(t *testing.T) {
	d := newDir(t)
	outside := t.TempDir()
	d.must(os.WriteFile(filepath.Join(outside, "file"), nil, 0o644))
	d.must(errors.Join(
		os.MkdirAll(d.in("old/sub"), 0o755), os.WriteFile(d.in("old/sub/file"), nil, 0o644),
		os.WriteFile(d.in("old/sub/mine"), nil, 0o644), os.MkdirAll(d.in("gone/sub"), 0o755),
		os.WriteFile(d.in("gone/sub/file"), nil, 0o644), os.MkdirAll(d.in("turned/mine"), 0o755), os.Symlink(outside, d.in("way")),
	))
	reg, dirMode := uint32(unix.S_IFREG|0o644), uint32(unix.S_IFDIR|0o755)
	gone := files.List{
		{Path: "old", Mode: dirMode}, {Path: "old/sub", Mode: dirMode}, {Path: "old/sub/file", Mode: reg},
		{Path: "gone", Mode: dirMode}, {Path: "gone/sub", Mode: dirMode}, {Path: "gone/sub/file", Mode: reg},
		{Path: "turned", Mode: reg}, {Path: "way/file", Mode: reg}, {Path: "never/was", Mode: reg}, {Path: "page/below", Mode: reg},
	}
	d.must(d.mender().Mend(t.Context(), nil, gone))
	got, _ := d.look(true)
	if want := []string{"old is extra", "turned is extra", "way is extra"}; !slices.Equal(got, want) {
		t.Errorf("%q differ, want %q", got, want)
	}
	for path, is := range map[string]bool{
		d.in("old/sub/mine"): true, d.in("old/sub/file"): false, d.in("turned/mine"): true, filepath.Join(outside, "file"): true,
	} {
		if _, err := os.Lstat(path); (err == nil) != is {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// When a content cannot be had, nothing has changed.
func TestMendFailsWhole(t *testing.T) {
	d := newDir(t)
	d.must(errors.Join(os.WriteFile(d.in("page"), []byte("ONE"), 0o644), os.Remove(d.in("sub/deep/file"))))
	before, _ := d.look(true)
	m, asked := d.mender(), 0
	content := m.Content
	m.Content = func(ctx context.Context, e *files.Entry, to io.Writer) error {
		if asked++; asked == 2 {
			return unix.ENOSPC
		}
		return content(ctx, e, to)
	}
	looked, err := files.Compare(t.Context(), d.root, d.list, true)
	d.must(err)
	if err := m.Mend(t.Context(), looked.Differences, nil); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error is %v", err)
	}
	if after, _ := d.look(true); !slices.Equal(before, after) {
		t.Errorf("%q differ, before %q", after, before)
	}
	d.mend(nil)
}

func TestCompareEndsWithItsContext(t *testing.T) {
	d := newDir(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("ended")
	cancel(ended)
	if _, err := files.Compare(ctx, d.root, d.list, true); !errors.Is(err, ended) {
		t.Errorf("error is %v", err)
	}
}
