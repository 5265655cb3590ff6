package tree_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/tree"
)

// fill makes files below dir: a name that ends with "/" is a directory, a content of "-> x" a link to x, of "#!…" an
// executable file.
func fill(tb testing.TB, dir string, all map[string]string) {
	tb.Helper()
	for name, content := range all {
		at := filepath.Join(dir, name)
		parent := filepath.Dir(at)
		if strings.HasSuffix(name, "/") {
			parent = at
		}
		err := os.MkdirAll(parent, 0o755)
		target, link := strings.CutPrefix(content, "-> ")
		switch {
		case err != nil || parent == at:
		case link:
			err = os.Symlink(target, at)
		case strings.HasPrefix(content, "#!"):
			err = os.WriteFile(at, []byte(content), 0o700)
		default:
			err = os.WriteFile(at, []byte(content), 0o611)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func read(tb testing.TB, dir string, exclude ...string) *tree.Directory {
	tb.Helper()
	d, err := tree.ReadDirectory(context.Background(), tree.FormatSHA1, dir, exclude, func(int, int64) {})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// writeTree is what git makes of a directory.
func writeTree(g *fixture.Repository, dir string) tree.OID {
	g.Helper()
	work := g.With("GIT_WORK_TREE="+dir, "GIT_INDEX_FILE="+filepath.Join(g.TempDir(), "index"))
	// A directory's own .gitattributes must change no byte.
	attributes := filepath.Join(g.Dir, "info", "attributes")
	if err := errors.Join(os.MkdirAll(filepath.Dir(attributes), 0o755),
		os.WriteFile(attributes, []byte("* -text -ident -filter\n"), 0o600)); err != nil {
		g.Fatal(err)
	}
	neutral := []string{"-c", "core.autocrlf=false", "-c", "core.fileMode=true", "-c", "core.symlinks=true", "-c",
		"core.bare=false"}
	work.Git(append(neutral, "-C", dir, "add", "-A", "-f", ".")...)
	return work.OID("write-tree")
}

// same checks that a directory is what git says: its oid, every tree's entries and every blob's content.
func same(tb testing.TB, g *fixture.Repository, d *tree.Directory, want tree.OID) {
	tb.Helper()
	if d.Root() != want {
		tb.Fatalf("tree %s, git says %s", d.Root(), want)
	}
	var blobs []tree.OID
	for trees := []tree.OID{want}; len(trees) > 0; trees = trees[1:] {
		theirs := g.Git("ls-tree", "-z", trees[0].String())
		ours, err := d.Tree(trees[0])
		lines := ""
		for _, e := range ours {
			typ := "blob"
			if e.Mode == filemode.Dir {
				typ = "tree"
			}
			lines += fmt.Sprintf("%06o %s %s\t%s\x00", uint32(e.Mode), typ, e.OID, e.Name)
		}
		if diff := cmp.Diff(theirs, lines); diff != "" || err != nil {
			tb.Fatalf("tree %s: %v (-git +ours)\n%s", trees[0], err, diff)
		}
		for _, e := range ours {
			if e.Mode.IsFile() {
				blobs = append(blobs, e.OID)
			} else {
				trees = append(trees, e.OID)
			}
		}
	}
	if len(blobs) != d.Files {
		tb.Errorf("%d files, git has %d", d.Files, len(blobs))
	}
	sizes, err := d.Sizes(context.Background(), blobs)
	if err != nil {
		tb.Fatal(err)
	}
	next := 0
	err = d.Blobs(context.Background(), blobs, func(i int, size int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		sum := tree.HashBlob(tree.FormatSHA1, size)
		_, _ = sum.Write(text)
		if i != next || int64(len(text)) != size || size != sizes[i] || sum.OID() != blobs[i] {
			tb.Errorf("blob %d of %d bytes: %q, %v", i, size, text, err)
		}
		next++
		return err
	})
	if err != nil || next != len(blobs) {
		tb.Errorf("%d of %d blobs, %v", next, len(blobs), err)
	}
}

func TestDirectoryIsWhatGitMakesOfIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, map[string]string{
		"a": "one\r\n", "a.b": "two", "a-b/x": "x", "a.d/y": "y", "run": "#!/bin/sh\n", "copy/run": "#!/bin/sh\n",
		"copy/run.txt": "#!/bin/sh\n",
		"link":         "-> ../outside", "dangling": "-> nowhere", "to dir": "-> copy", "empty": "", "none/at/all/": "",
		"none/else/": "", "copy/none/": "",
		".gitignore": "a\n*.txt\n", ".gitattributes": "* text eol=crlf\n", ".gitmodules": "", "ü\n\xff\x01": "odd",
		"big": strings.Repeat("0123456789", 300_000),
	})
	d, g := read(t, dir), fixture.NewRepository(t)
	same(t, g, d, writeTree(g, dir))
	if d.Unmatched != nil || d.Name != filepath.Base(dir) {
		t.Errorf("unmatched %q, name %q", d.Unmatched, d.Name)
	}
	link := filepath.Join(t.TempDir(), "current")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if through := read(t, link+"/"); through.Root() != d.Root() || through.Name != "current" {
		t.Errorf("through a link: %s, %q", through.Root(), through.Name)
	}
}

func TestRandomDirectories(t *testing.T) {
	t.Parallel()
	g := fixture.NewRepository(t)
	name := rapid.OneOf(
		rapid.SampledFrom([]string{"a", "a.b", "a-b", "a0", "a!", "A", "b", " ", "-", "*", "\\", "\n", "~",
			".gitignore", ".gi", "git"}),
		rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 4),
			func(b []byte) string { return strings.ReplaceAll(string(b), "/", "_") }),
	).Filter(func(s string) bool { return tree.CheckName(s) == nil })
	path := rapid.Map(rapid.SliceOfN(name, 1, 4), func(s []string) string { return strings.Join(s, "/") })
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		for i := range rapid.IntRange(0, 12).Draw(rt, "count") {
			where := path.Draw(rt, fmt.Sprint("path ", i))
			content := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "content")
			at := filepath.Join(dir, where)
			if os.MkdirAll(filepath.Dir(at), 0o755) != nil {
				continue // a file is there
			}
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
				_ = os.Mkdir(at, 0o755)
			case 1:
				_ = os.Symlink("x"+strings.ReplaceAll(string(content), "\x00", ""), at)
			case 2:
				_ = os.WriteFile(at, content, 0o711)
			default:
				_ = os.WriteFile(at, content, 0o645)
			}
		}
		if d, want := read(t, dir), writeTree(g, dir); d.Root() != want {
			rt.Fatalf("tree %s, git says %s", d.Root(), want)
		}
	})
}

func TestEmptyDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, map[string]string{"a/b/": "", "c/x.log": "x"})
	d := read(t, dir, "*.log", "c/", "nothing")
	entries, err := d.Tree(d.Root())
	if d.Root().String() != "4b825dc642cb6eb9a060e54bf8d69288fbee4904" || len(entries) != 0 || err != nil ||
		d.Files != 0 {
		t.Errorf("tree %s, %v, %v", d.Root(), entries, err)
	}
	if diff := cmp.Diff([]string{"*.log", "nothing"}, d.Unmatched); diff != "" {
		t.Errorf("unmatched (-want +got):\n%s", diff)
	}
	if _, err := d.Tree(fixture.OID(strings.Repeat("ab", 20))); !errors.Is(err, tree.ErrNotFound) {
		t.Errorf("a tree that is not there: %v", err)
	}
	err = d.Blobs(t.Context(), []tree.OID{fixture.OID(strings.Repeat("ab", 20))}, nil)
	if !errors.Is(err, tree.ErrNotFound) {
		t.Errorf("a blob that is not there: %v", err)
	}
	if _, err := d.Sizes(t.Context(), []tree.OID{fixture.OID(strings.Repeat("ab", 20))}); !errors.Is(err, tree.ErrNotFound) {
		t.Errorf("the size of a blob that is not there: %v", err)
	}
}

// refused reads a directory that is refused, and gives its remedy and the error.
func refused(t *testing.T, dir string) (remedy string, err error) {
	t.Helper()
	_, err = tree.ReadDirectory(t.Context(), tree.FormatSHA1, dir, nil, func(int, int64) {})
	if !fault.Is(err, fault.Refused) {
		t.Fatalf("error is %T %v", err, err)
	}
	return fault.RemedyOf(err), err
}

func TestWhatNoTreeHoldsIsNamed(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, map[string]string{"fine": "x", "sub/.git/config": "x", "sub/.GIT": "gitdir: x"})
	if err := unix.Mkfifo(filepath.Join(dir, "pi\npe"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	t.Chdir(dir) // a socket's path is short
	if err := unix.Bind(s, &unix.SockaddrUnix{Name: "socket"}); err != nil {
		t.Fatal(err)
	}
	remedy, bad := refused(t, ".")
	want := `directory ".": "pi\npe" is a FIFO; "socket" is a socket; ` +
		`"sub/.GIT" is git's own name, or some file system takes it for that; "sub/.git" is git's own name, or some file system takes it for that`
	mend := "only files, links and directories are deployed: leave it out, or remove it; " +
		"leave it out, or deploy the commit instead"
	if diff := cmp.Diff([]string{want, mend}, []string{bad.Error(), remedy}); diff != "" {
		t.Errorf("error, remedy (-want +got):\n%s", diff)
	}
	if d := read(t, ".", "pi?pe", "/socket", ".[gG][iI][tT]"); d.Files != 1 || d.Name != filepath.Base(dir) {
		t.Errorf("%d files of %s", d.Files, d.Name)
	}
}

func TestTenProblemsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 12 {
		if err := unix.Mkfifo(filepath.Join(dir, fmt.Sprintf("%02d", i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remedy, bad := refused(t, dir)
	says := bad.Error()
	if strings.Count(says, "is a FIFO") != 10 || !strings.HasSuffix(says, `"09" is a FIFO; perhaps more`) ||
		strings.Count(remedy, "leave it out") != 1 {
		t.Errorf("%v, remedy: %s", bad, remedy)
	}
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, map[string]string{"file": "x", "loop": "-> loop", "to file": "-> file"})
	for name, says := range map[string]string{"missing": "no such file", "file": "not a directory",
		"loop": "too many links", "to file": "not a directory"} {
		remedy, bad := refused(t, filepath.Join(dir, name))
		if !strings.Contains(bad.Error(), says) || !strings.Contains(bad.Error(), name) || remedy == "" {
			t.Errorf("%s: %v, remedy %q", name, bad, remedy)
		}
	}
	if _, bad := refused(t, filepath.Join(dir, "missing")); !errors.Is(bad, fs.ErrNotExist) {
		t.Error(bad)
	}
}

// As root nothing is unreadable, so this thread reads files as somebody else.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, map[string]string{"file": "x", "secret": "x", "closed/x": "x", "other/closed/x": "x"})
	for name, mode := range map[string]fs.FileMode{".": 0o755, "secret": 0o600, "closed": 0o700, "other/closed": 0o700,
		"file": 0o644} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		becomeNobody(t)
	} else if err := errors.Join(os.Chmod(filepath.Join(dir, "secret"), 0), os.Chmod(filepath.Join(dir, "closed"), 0),
		os.Chmod(filepath.Join(dir, "other/closed"), 0)); err != nil {
		t.Fatal(err)
	}
	remedy, bad := refused(t, dir)
	want := `: "secret" cannot be read: permission denied; "closed" cannot be read: permission denied; ` +
		`"other/closed" cannot be read: permission denied`
	if !strings.HasSuffix(bad.Error(), want) || remedy != "let this user read it, or leave it out" {
		t.Errorf("%v, remedy: %s", bad, remedy)
	}
	// What is left out need not be readable.
	if d := read(t, dir, "secret", "closed/"); d.Files != 1 {
		t.Errorf("%d files", d.Files)
	}
}

func TestChangedFiles(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	fill(t, outside, map[string]string{"file": "before"})
	for name, change := range map[string]func(at string) error{
		"another content": func(at string) error { return os.WriteFile(at, []byte("after!"), 0o600) },
		"longer":          func(at string) error { return os.WriteFile(at, []byte("before and after"), 0o600) },
		"shorter":         func(at string) error { return os.Truncate(at, 3) },
		"gone":            os.Remove,
		"a link to the same": func(at string) error {
			return errors.Join(os.Rename(at, at+"2"), os.Symlink("file2", at))
		},
		"a FIFO":      func(at string) error { return errors.Join(os.Remove(at), unix.Mkfifo(at, 0o600)) },
		"a directory": func(at string) error { return errors.Join(os.Remove(at), os.Mkdir(at, 0o700)) },
		"a link above": func(at string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(at)), os.Symlink(outside, filepath.Dir(at)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fill(t, dir, map[string]string{"sub/file": "before"})
			d := read(t, dir)
			before := []tree.OID{fixture.BlobOID("before")}
			if err := change(filepath.Join(dir, "sub/file")); err != nil {
				t.Fatal(err)
			}
			var got []byte
			err := d.Blobs(t.Context(), before, func(_ int, size int64, content io.Reader) error {
				got = make([]byte, size)
				n, err := io.ReadFull(content, got)
				got = got[:n]
				return err
			})
			says := `"sub/file" changed while it was read`
			if !errors.Is(err, tree.ErrChanged) || err.Error() != says || fault.RemedyOf(err) == "" || len(got) == 6 {
				t.Errorf("%v after %q", err, got)
			}
		})
	}
	dir := t.TempDir()
	fill(t, dir, map[string]string{"link": "-> before"})
	d := read(t, dir)
	if err := errors.Join(os.Remove(filepath.Join(dir, "link")),
		os.Symlink("after!", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	err := d.Blobs(t.Context(), []tree.OID{fixture.BlobOID("before")}, func(_ int, _ int64, r io.Reader) error {
		_, err := io.ReadAll(r)
		return err
	})
	if !errors.Is(err, tree.ErrChanged) {
		t.Errorf("link: %v", err)
	}
}

// A file that goes between the directory's being read and its own.
func TestFileThatGoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, map[string]string{"a": "x", "b": strings.Repeat("x", 1<<20)})
	_, err := tree.ReadDirectory(t.Context(), tree.FormatSHA1, dir, nil, func(files int, _ int64) {
		if files == 1 { // b is next
			if err := os.Remove(filepath.Join(dir, "b")); err != nil {
				t.Error(err)
			}
		}
	})
	if err == nil || !strings.HasSuffix(err.Error(), `: "b" changed while it was read`) {
		t.Errorf("%v", err)
	}
}

func TestBlobsOfADirectoryEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, map[string]string{"a": "a", "b": "b"})
	d := read(t, dir)
	a, b := fixture.BlobOID("a"), fixture.BlobOID("b")
	calls, stop := 0, errors.New("stop")
	var kept io.Reader
	err := d.Blobs(t.Context(), []tree.OID{b, a, b}, func(_ int, _ int64, r io.Reader) error {
		if calls++; calls == 2 {
			return stop
		}
		kept = r
		return nil // nothing of it was read
	})
	if !errors.Is(err, stop) || calls != 2 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if n, err := kept.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("content after its call: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := d.Blobs(ctx, []tree.OID{a}, nil); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	if _, err := tree.ReadDirectory(ctx, tree.FormatSHA1, dir, nil, nil); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// However many files there are and however deep, few are open at a time, and none at the end.
func TestFewFilesAreOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("open files are counted in /proc")
	}
	dir := t.TempDir()
	all := map[string]string{}
	for i := range 2000 {
		all[fmt.Sprintf("%d/%d", i%40, i)] = fmt.Sprint(i)
	}
	all[strings.Repeat("d/", 300)+"f"] = "deep"
	fill(t, dir, all)
	open := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before, most := open(), 0
	look := func(files int, _ int64) {
		if files%100 == 0 || files > 2000 {
			most = max(most, open())
		}
	}
	d, err := tree.ReadDirectory(t.Context(), tree.FormatSHA1, dir, nil, look)
	if err != nil {
		t.Fatal(err)
	}
	var oids []tree.OID
	for _, content := range all {
		oids = append(oids, fixture.BlobOID(content))
	}
	if err := d.Blobs(t.Context(), oids, func(i int, _ int64,
		_ io.Reader) error {
		look(i, 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if after := open(); after > before || most > before+4 || d.Files != 2001 {
		t.Errorf("%d open before, %d meanwhile, %d after, of %d", before, most, after, d.Files)
	}
}

func TestExcludes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := map[string]string{}
	for _, name := range []string{"a.log", "keep.log", "b", "sub/a.log", "sub/keep.log", "sub/b", "sub/sub/b",
		"x/y/z/f", "x/z/f", "tmp/keep", "#a", "[b]", "sp ", "ü"} {
		all[name] = name
	}
	fill(t, dir, all)
	g := fixture.NewRepository(t)
	for _, patterns := range [][]string{
		{"*.log", "!keep.log"}, {"*.log", "!sub"}, {"sub", "!sub/b"}, {"/b"}, {"sub/b"}, {"b/"}, {"sub/"},
		{"**/sub/b"}, {"x/**/f"}, {"x/**"}, {"**"},
		{"x/**/z"}, {"**/z/f"}, {"s?b"}, {"[!a-s]*"}, {"[^b]"}, {"\\[b\\]"}, {"[[]b]"}, {"[]b]"}, {"#a"}, {"sp "},
		{"sp"}, {"tmp/*", "!tmp/keep"},
		{"[[:alpha:]]"}, {"[[:punct:]]*"}, {"*/*/f"}, {"*"}, {"/*", "!/sub"}, {"??"}, {"\\!b"}, {"x**y"}, {"***/f"},
		{"/sub/**/b"}, {"\xc3?"},
	} {
		args := []string{"-C", dir, "-c", "core.bare=false", "ls-files", "-z", "--others"}
		for _, p := range patterns {
			args = append(args, "--exclude="+p)
		}
		work := g.With("GIT_WORK_TREE=" + dir)
		want := strings.Split(strings.TrimSuffix(work.Git(args...), "\x00"), "\x00")
		got := paths(t, read(t, dir, patterns...))
		if diff := cmp.Diff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
			t.Errorf("%q (-git +ours):\n%s", patterns, diff)
		}
	}
}

// paths gives a directory's files as git ls-files does.
func paths(t testing.TB, d *tree.Directory) []string {
	var list []string
	var walk func(oid tree.OID, at string)
	walk = func(oid tree.OID, at string) {
		entries, err := d.Tree(oid)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Mode.IsFile() {
				list = append(list, at+e.Name)
			} else {
				walk(e.OID, at+e.Name+"/")
			}
		}
	}
	walk(d.Root(), "")
	return list
}

func TestRandomExcludes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := map[string]string{}
	for _, a := range []string{"a", "b", "ab", "a.b", "]"} {
		for _, b := range []string{"a", "b", "ba", "-", "!"} {
			all["d"+a+"/d"+b+"/"+a+b], all["d"+a+"/"+b] = "x", "x"
		}
		all[a] = "x"
	}
	fill(t, dir, all)
	g := fixture.NewRepository(t)
	work := g.With("GIT_WORK_TREE=" + dir)
	element := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "d", "*", "?", "[ab]", "[!a]", "[a-c]",
		"[]-]", "\\a", "."}), 1, 4),
		func(s []string) string { return strings.ReplaceAll(strings.Join(s, ""), "**", "*") })
	pattern := rapid.Custom(func(t *rapid.T) string {
		elements := rapid.SliceOfN(rapid.OneOf(element, element, rapid.Just("**")), 1, 3).Draw(t, "elements")
		return rapid.SampledFrom([]string{"", "", "!", "/"}).Draw(t, "start") + strings.Join(elements, "/") +
			rapid.SampledFrom([]string{"", "", "/"}).Draw(t, "end")
	})
	rapid.Check(t, func(rt *rapid.T) {
		patterns := rapid.SliceOfN(pattern, 1, 3).Draw(rt, "patterns")
		args := []string{"-C", dir, "-c", "core.bare=false", "ls-files", "-z", "--others"}
		for _, p := range patterns {
			if at := "/" + strings.TrimPrefix(p, "!") + "/"; strings.Contains(at, "/./") ||
				strings.Contains(at, "/../") {
				rt.SkipNow()
			}
			args = append(args, "--exclude="+p)
		}
		want := strings.TrimSuffix(work.Git(args...), "\x00")
		if got := strings.Join(paths(t, read(t, dir, patterns...)), "\x00"); got != want {
			rt.Fatalf("%q: got %q, git has %q", patterns, got, want)
		}
	})
}

func TestMalformedExcludes(t *testing.T) {
	t.Parallel()
	for pattern, says := range map[string]string{
		"": "is empty", "!": "is empty", "/": "is empty", "a//b": "two slashes", "///": "two slashes",
		"./a": "element . or ..", "a/..": "element . or ..",
		"[a": "without its ]", "[!]": "without its ]", "[a\\": "without its ]", "a\\": "backslash at the end",
		"a\x00": "NUL",
	} {
		_, err := tree.ReadDirectory(t.Context(), tree.FormatSHA1, t.TempDir(), []string{"fine", pattern}, nil)
		named := fmt.Sprintf("exclude pattern %q ", pattern)
		if !fault.Is(err, fault.Usage) || fault.RemedyOf(err) == "" || !strings.HasPrefix(err.Error(), named) ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}

// Without git there is nothing to miss.
func TestDirectoryNeedsNoGit(t *testing.T) {
	t.Setenv("PATH", "")
	dir := t.TempDir()
	fill(t, dir, map[string]string{"a": "a"})
	if _, err := exec.LookPath("git"); err == nil {
		t.Fatal("there is a git")
	}
	if d := read(t, dir); d.Root().String() != "b39954843ff6e09ec3aa2b942938c30c6bd1629e" {
		t.Errorf("tree %s", d.Root())
	}
}
