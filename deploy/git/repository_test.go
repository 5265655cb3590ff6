package git_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/tree"
)

func TestMain(m *testing.M) { fixture.Main(m) }

func open(g *fixture.Repository, env ...string) *git.Repository {
	g.Helper()
	r, err := git.OpenRepository(context.Background(), g.Dir, env)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() {
		if err := r.Close(); err != nil {
			g.Error(err)
		}
	})
	return r
}

func rawEntry(mode, name string, oid git.OID) string {
	return mode + " " + name + "\x00" + string(oid.Bytes())
}

// build makes the node of a tree, and of everything below it, out of what the repository gives.
func build(t *testing.T, r *git.Repository, oid git.OID) *tree.Node {
	t.Helper()
	entries, err := r.Tree(oid)
	if err != nil {
		t.Fatal(err)
	}
	n := &tree.Node{}
	for _, e := range entries {
		out := tree.Entry{Mode: e.Mode, Name: e.Name, OID: e.OID}
		switch e.Mode {
		case filemode.Submodule:
		case filemode.Dir:
			text := build(t, r, e.OID).Text()
			out.Size, out.SHA256 = int64(len(text)), sha256.Sum256(text)
		default:
			var content []byte
			err := r.Blobs(context.Background(), []git.OID{e.OID}, func(_ int, size int64, rd io.Reader) (err error) {
				out.Size = size
				content, err = io.ReadAll(rd)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			out.SHA256 = sha256.Sum256(content)
		}
		n.Entries = append(n.Entries, out)
	}
	if n.OID(tree.FormatSHA1) != oid {
		t.Fatalf("tree %s recomputed as %s", oid, n.OID(tree.FormatSHA1))
	}
	if _, err := tree.ParseNode(n.Text()); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTreeOfWorkTree commits a real directory with everything that is odd in it, and reads it back.
func TestTreeOfWorkTree(t *testing.T) {
	g := fixture.NewRepository(t)
	work := t.TempDir()
	files := map[string]string{
		"empty": "", "with space": "1", "line\nfeed": "2", "tab\t": "3", "caf\xe9 not utf-8": "4", "日本": "5",
		"-dash":        "6",
		"\"quoted\"\\": "7", "a": "8", "a.b": "9", "a-b/c": "10", "a0": "11", "dir/sub/deep": "12", "dir.x": "13",
		"...":        "14",
		".gitignore": "", "C:\\x": "15", "crlf": "a\r\nb\r\n", "nul": "\x00\x00",
	}
	for name, content := range files {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link": "a", "dangling": "no\nwhere", "outside": "../../etc/passwd",
		"dir/up": "..", "todir": "dir"} {
		if err := os.Symlink(to, filepath.Join(work, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(work, "a.b"), 0o700); err != nil { // #nosec G302 -- git's executable bit
		t.Fatal(err)
	}
	w := g.With("GIT_WORK_TREE=" + work)
	w.Git("-c", "core.bare=false", "add", "--all", "--force")
	sub := fixture.OID("00112233445566778899aabbccddeeff00112233")
	w.Git("-c", "core.bare=false", "update-index", "--add", "--cacheinfo", "160000,"+sub.String()+",vendor/lib")
	root := w.OID("write-tree")

	r := open(g)
	n := build(t, r, root)
	if got := listNode(t, r, n, ""); got != g.Git("ls-tree", "-r", "-t", "-z", "--full-tree", root.String()) {
		t.Errorf("read %q", got)
	}
	entry := func(name string) tree.Entry {
		for _, e := range n.Entries {
			if e.Name == name {
				return e
			}
		}
		t.Fatalf("no entry %q", name)
		return tree.Entry{}
	}
	if e := entry("a.b"); e.Mode != filemode.Executable {
		t.Errorf("a.b has mode %v", e.Mode)
	}
	if e := entry("dangling"); e.Mode != filemode.Symlink || e.Size != 8 ||
		e.SHA256 != sha256.Sum256([]byte("no\nwhere")) {
		t.Errorf("dangling is %v", e)
	}
	if e := entry("empty"); e.Size != 0 || e.SHA256 != sha256.Sum256(nil) {
		t.Errorf("empty is %v", e)
	}
	vendor := build(t, r, entry("vendor").OID).Entries
	want := []tree.Entry{{Mode: filemode.Submodule, Name: "lib", OID: sub}}
	if d := cmp.Diff(want, vendor, fixture.EqualOIDs); d != "" {
		t.Error(d)
	}
}

// listNode prints a node as git ls-tree -r -t -z does.
func listNode(t *testing.T, r *git.Repository, n *tree.Node, prefix string) string {
	t.Helper()
	var b strings.Builder
	for _, e := range n.Entries {
		typ := map[filemode.FileMode]string{filemode.Dir: "tree", filemode.Submodule: "commit"}[e.Mode]
		if typ == "" {
			typ = "blob"
		}
		fmt.Fprintf(&b, "%06o %s %s\t%s%s\x00", uint32(e.Mode), typ, e.OID, prefix, e.Name)
		if e.Mode == filemode.Dir {
			b.WriteString(listNode(t, r, build(t, r, e.OID), prefix+e.Name+"/"))
		}
	}
	return b.String()
}

func TestEmptyRepository(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	empty := fixture.OID("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
	if entries, err := r.Tree(empty); err != nil || len(entries) != 0 {
		t.Errorf("empty tree: %v, %v", entries, err)
	}
	if raw, err := r.Raw(empty); err != nil || string(raw) != "tree 0\x00" {
		t.Errorf("raw empty tree: %q, %v", raw, err)
	}
	blob := g.Blob("")
	err := r.Blobs(t.Context(), []git.OID{blob}, func(_ int, size int64, rd io.Reader) error {
		b, err := io.ReadAll(rd)
		if size != 0 || len(b) != 0 {
			t.Errorf("empty blob: size %d, %q", size, b)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestLargeDirectory(t *testing.T) {
	g := fixture.NewRepository(t)
	blob := g.Blob("x")
	lines := make([]string, 20_000)
	for i := range lines {
		lines[i] = fmt.Sprintf("100644 blob %s\tfile %d", blob, i)
	}
	oid := g.Tree(lines...)
	entries, err := open(g).Tree(oid)
	if err != nil || len(entries) != len(lines) {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
}

func TestTreeRefuses(t *testing.T) {
	g := fixture.NewRepository(t)
	r := open(g)
	blob, dir := g.Blob("x"), g.Tree()
	for _, c := range []struct{ why, raw, want string }{
		{"padded mode", rawEntry("0100644", "a", blob), "mode "},
		{"padded mode of a directory", rawEntry("040000", "a", dir), "mode "},
		{"old mode", rawEntry("100664", "a", blob), "mode "},
		{"other old mode", rawEntry("100777", "a", blob), "mode "},
		{"mode of a fifo", rawEntry("10644", "a", blob), "mode "},
		{"no mode", rawEntry("0", "a", blob), "mode "},
		{"mode that is no number", rawEntry("1006x4", "a", blob), "mode "},
		{"unsorted", rawEntry("100644", "b", blob) + rawEntry("100644", "a", blob),
			`entry "a": out of order after "b"`},
		{"directory sorted as a file", rawEntry("40000", "a", dir) + rawEntry("100644", "a.", blob), "out of order"},
		{"twice", rawEntry("100644", "a", blob) + rawEntry("100644", "a", blob), `entry "a": twice`},
		{"file and directory", rawEntry("100644", "a", blob) + rawEntry("100644", "a.", blob) +
			rawEntry("40000", "a", dir), "both as a file and as a directory"},
		{"empty name", rawEntry("100644", "", blob), "empty"},
		{"dot", rawEntry("40000", ".", dir), `entry "."`},
		{"dot dot", rawEntry("40000", "..", dir), `entry ".."`},
		{".git", rawEntry("40000", ".git", dir), `entry ".git"`},
		{".GIT", rawEntry("100644", ".GIT", blob), `entry ".GIT"`},
		{"slash", rawEntry("100644", "a/b", blob), `entry "a/b"`},
		{"cut off oid", rawEntry("100644", "a", blob)[:20], "cut off"},
		{"cut off name", "100644 a", "cut off"},
		{"cut off mode", "1006", "cut off"},
	} {
		oid := g.RawTree(c.raw)
		_, err := r.Tree(oid)
		if !fault.Is(err, fault.Refused) || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", c.why, err)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), oid.String()) {
			t.Errorf("%s: %q does not say %q", c.why, err, c.want)
		}
	}
	if _, err := r.Tree(g.RawTree(rawEntry("100644", "a.", blob) + rawEntry("40000", "a", dir))); err != nil {
		t.Error(err)
	}
}

func TestWrongTypeAndMissing(t *testing.T) {
	g := fixture.NewRepository(t)
	blob := g.Blob("x")
	dir := g.Tree("100644 blob " + blob.String() + "\tx")
	commit := g.CommitTree(dir, "one")
	g.Git("tag", "-a", "-m", "tagged", "v1", commit.String())
	tag := g.OID("rev-parse", "v1")
	none := fixture.OID("00112233445566778899aabbccddeeff00112233")
	r := open(g)
	ctx := t.Context()
	for _, c := range []struct {
		what string
		oid  git.OID
		call func(git.OID) error
		is   string
	}{
		{"Commit", blob, func(o git.OID) error { _, err := r.Commit(o); return err }, "blob"},
		{"Commit", tag, func(o git.OID) error { _, err := r.Commit(o); return err }, "tag"},
		{"Commit", none, func(o git.OID) error { _, err := r.Commit(o); return err }, ""},
		{"Tree", commit, func(o git.OID) error { _, err := r.Tree(o); return err }, "commit"},
		{"Tree", none, func(o git.OID) error { _, err := r.Tree(o); return err }, ""},
		{"Raw", none, func(o git.OID) error { _, err := r.Raw(o); return err }, ""},
		{"Blobs", dir, func(o git.OID) error { return r.Blobs(ctx, []git.OID{blob, o, blob}, readNothing) }, "tree"},
		{"Blobs, last", dir, func(o git.OID) error { return r.Blobs(ctx, []git.OID{blob, o}, readNothing) }, "tree"},
		{"Blobs", none, func(o git.OID) error { return r.Blobs(ctx, []git.OID{blob, o}, readNothing) }, ""},
	} {
		err := c.call(c.oid)
		if !errors.Is(err, git.ErrNotFound) || !strings.Contains(err.Error(), c.oid.String()) ||
			!strings.Contains(err.Error(), c.is) {
			t.Errorf("%s(%s): %v", c.what, c.oid, err)
		}
		// Whatever happened: the next answer is the right one.
		if c, err := r.Commit(commit); err != nil || c.OID != commit || c.Tree != dir || c.Message != "one\n" {
			t.Fatalf("afterwards: %v, %v", c, err)
		}
	}
}

func readNothing(int, int64, io.Reader) error { return nil }

func TestRaw(t *testing.T) {
	g := fixture.NewRepository(t)
	blob := g.Blob("push certificate")
	dir := g.Tree("100644 blob " + blob.String() + "\tx")
	commit := g.CommitTree(dir, "one")
	g.Git("tag", "-a", "-m", "tagged", "v1", commit.String())
	r := open(g)
	for _, oid := range []git.OID{blob, dir, commit, g.OID("rev-parse", "v1")} {
		raw, err := r.Raw(oid)
		if err != nil || fmt.Sprintf("%x", sha1.Sum(raw)) != oid.String() {
			t.Errorf("%s: %q, %v", oid, raw, err)
		}
	}
}

// What is too large is refused by its size: git itself, which would hold all of it in memory, never reads it.
func TestTooLarge(t *testing.T) {
	const size, most = 48 << 20, 32 << 20
	g := fixture.NewRepository(t)
	large := strings.Repeat("0123456789abcdef", size/16)
	small := g.Blob("x")
	store := func(typ string) git.OID {
		return fixture.OID(g.GitInput(large, "hash-object", "-t", typ, "--literally", "-w", "--stdin"))
	}
	r := open(g)
	for _, typ := range []string{"commit", "tree", "tag"} {
		oid := store(typ)
		read := map[string]func() error{
			"Raw": func() error { _, err := r.Raw(oid); return err },
		}
		switch typ {
		case "commit":
			read["Commit"] = func() error { _, err := r.Commit(oid); return err }
		case "tree":
			read["Tree"] = func() error { _, err := r.Tree(oid); return err }
			read["Trees"] = func() error {
				return r.Trees(t.Context(), []git.OID{oid}, func(int, []tree.Entry) error { return nil })
			}
		}
		want := fmt.Sprintf("%s %s is %d bytes (limit %d)", typ, oid, size, 16<<20)
		for name, call := range read {
			if err := call(); !fault.Is(err, fault.Refused) || !strings.HasSuffix(err.Error(), want) ||
				fault.RemedyOf(err) == "" {
				t.Errorf("%s of a %s: %v", name, typ, err)
			}
		}
		if err := r.Blobs(t.Context(), []git.OID{small, oid}, readNothing); !errors.Is(err, git.ErrNotFound) {
			t.Errorf("Blobs of a %s: %v", typ, err)
		}
		if got := fixture.PeakMemory(t, r.GitPID()); got > most {
			t.Errorf("git has taken %d bytes for a %s", got, typ)
		}
	}
	blob := g.Blob(large)
	if err := r.Blobs(t.Context(), []git.OID{blob}, func(_ int, got int64, _ io.Reader) error {
		if got != size {
			t.Errorf("the blob has %d bytes", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	g.Git("update-ref", "refs/heads/main", g.CommitTree(g.Tree("100644 blob "+blob.String()+"\tx"), "one").String())
	g.Git("repack", "-adq") // git streams what is a file of its own anyhow
	packed := open(g)
	if err := packed.Blobs(t.Context(), []git.OID{blob}, readNothing); err != nil {
		t.Error(err)
	}
	if got := fixture.PeakMemory(t, packed.GitPID()); got > most {
		t.Errorf("git has taken %d bytes for a blob", got)
	}
}

// Trees gives what Tree gives, and goes on after whatever ended it.
func TestTrees(t *testing.T) {
	g := fixture.NewRepository(t)
	blob := g.Blob("x")
	var all []git.OID
	for i := range 12 {
		all = append(all, g.Tree(fmt.Sprintf("100644 blob %s\tfile %d", blob, i)))
	}
	none := fixture.OID("00112233445566778899aabbccddeeff00112233")
	bad := g.RawTree(rawEntry("100644", "a/b", blob))
	r := open(g)
	stop := errors.New("enough")
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.SliceOfN(rapid.SampledFrom(append(slices.Clone(all), none, bad, blob)), 0, 1200).Draw(t, "asked")
		end := rapid.IntRange(0, 1500).Draw(t, "end")
		next := 0
		err := r.Trees(context.Background(), asked, func(i int, entries []tree.Entry) error {
			if i != next || len(entries) != 1 || entries[0].Name != fmt.Sprint("file ", slices.Index(all, asked[i])) {
				t.Fatalf("tree %d is %v, after %d", i, entries, next)
			}
			if next++; next > end {
				return stop
			}
			return nil
		})
		wrong := slices.IndexFunc(asked, func(oid git.OID) bool { return !slices.Contains(all, oid) })
		switch {
		case errors.Is(err, stop):
			if next != end+1 {
				t.Fatalf("stopped after %d", next)
			}
		case err != nil:
			if wrong < 0 || !errors.Is(err, git.ErrNotFound) && !fault.Is(err, fault.Refused) {
				t.Fatal(err)
			}
		case next != len(asked) || wrong >= 0:
			t.Fatalf("%d of %d trees, the one at %d cannot be", next, len(asked), wrong)
		}
	})
}

func TestTreeAt(t *testing.T) {
	g := fixture.NewRepository(t)
	blob := g.Blob("x")
	deep := g.Tree("100644 blob " + blob.String() + "\tfile")
	mid := g.Tree("40000 tree "+deep.String()+"\td e\xff", "120000 blob "+blob.String()+"\tlink",
		"160000 commit 00112233445566778899aabbccddeeff00112233\tsub")
	root := g.Tree("40000 tree " + mid.String() + "\ta")
	r := open(g)
	commit, err := r.Commit(g.CommitTree(root, "one"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path  string
		want  git.OID
		above []git.OID
	}{
		{"", root, nil},
		{"a", mid, []git.OID{root}},
		{"a/d e\xff", deep, []git.OID{root, mid}},
	} {
		got, above, err := r.TreeAt(commit, c.path)
		if err != nil || got != c.want || !slices.Equal(above, c.above) {
			t.Errorf("%q: %s %s, %v", c.path, got, above, err)
		}
	}
	for path, want := range map[string]string{
		"b": `"b" does not exist`, "a/x/y": `"a/x" does not exist`, "a/link": `"a/link" is a symbolic link`,
		"a/sub": "is a submodule", "a/d e\xff/file": "is a file", "a/d e\xff/file/x": "is a file",
		"/a": "empty name", "a/": "empty name", "a//d": "empty name", "a/..": "is not a path", ".": "is not a path",
		".git": "is not a path",
	} {
		_, _, err := r.TreeAt(commit, path)
		var no *git.NoPathError
		if !errors.As(err, &no) || no.Path != path || no.Commit != commit.OID {
			t.Errorf("%q: %v", path, err)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), commit.OID.String()) {
			t.Errorf("%q: %q does not say %q", path, err, want)
		}
	}
}

// TestQuarantine reads objects that are in another object directory, as a pre-receive hook's are.
func TestQuarantine(t *testing.T) {
	g := fixture.NewRepository(t)
	old := g.Blob("old")
	quarantine := t.TempDir()
	env := []string{
		"GIT_OBJECT_DIRECTORY=" + quarantine, "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + filepath.Join(g.Dir, "objects"),
	}
	q := g.With(env...)
	blob := q.Blob("new")
	base := g.CommitTree(g.Tree("100644 blob "+old.String()+"\told"), "base")
	root := q.Tree("100644 blob "+blob.String()+"\tnew", "100644 blob "+old.String()+"\told")
	side := q.CommitTree(root, "side", base)
	merge := q.CommitTree(root, "merge", base, side)

	inside, outside := open(g, env...), open(g)
	if _, err := outside.Commit(merge); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("outside: %v", err)
	}
	build(t, inside, root)
	b, err := inside.Between(t.Context(), base, merge, 10) // a merge: git itself is asked, with the same environment
	if err != nil || !b.Related || !slices.Equal(b.Commits, []git.OID{merge, side}) {
		t.Errorf("%v, %v", b, err)
	}
}

func TestReplaceIsIgnored(t *testing.T) {
	g := fixture.NewRepository(t)
	blob, other := g.Blob("one"), g.Blob("two")
	g.Git("replace", blob.String(), other.String())
	err := open(g).Blobs(t.Context(), []git.OID{blob}, func(_ int, _ int64, r io.Reader) error {
		b, err := io.ReadAll(r)
		if string(b) != "one" {
			t.Errorf("read %q", b)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// overwrite puts an object's file in the place of another's: bytes that are a good object, but not the one named.
func overwrite(t *testing.T, g *fixture.Repository, oid git.OID, file []byte) {
	t.Helper()
	path := filepath.Join(g.Dir, "objects", oid.String()[:2], oid.String()[2:])
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

func loose(t *testing.T, raw string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCorruptObject(t *testing.T) {
	for _, c := range []struct {
		why  string
		file func(t *testing.T) []byte
		bad  func(error) bool
	}{
		{"other bytes", func(t *testing.T) []byte { return loose(t, "tree 0\x00") }, func(err error) bool {
			return errors.Is(err, git.ErrCorrupt)
		}},
		{"no zlib", func(*testing.T) []byte { return []byte("garbage garbage") }, func(err error) bool {
			return errors.Is(err, git.ErrCorrupt) && !errors.Is(err, git.ErrNotFound) &&
				strings.Contains(err.Error(), "inflate")
		}},
		{"empty", func(*testing.T) []byte { return nil }, func(err error) bool {
			return errors.Is(err, git.ErrCorrupt) && strings.Contains(err.Error(), "is empty")
		}},
		{"cut off", func(t *testing.T) []byte {
			b := loose(t, "tree 5000\x00"+fixture.Content(1, 5000))
			return b[:len(b)/2]
		},
			func(err error) bool {
				return errors.As(err, new(*git.Error)) && strings.Contains(err.Error(), "corrupt")
			}},
	} {
		t.Run(c.why, func(t *testing.T) {
			g := fixture.NewRepository(t)
			good := g.Tree("100644 blob " + g.Blob("x").String() + "\tx")
			bad := g.Tree("100644 blob " + g.Blob("x").String() + "\ty")
			overwrite(t, g, bad, c.file(t))
			r := open(g)
			_, err := r.Tree(bad)
			if !c.bad(err) || !strings.Contains(err.Error(), bad.String()) {
				t.Error(err)
			}
			t.Log(err)
			if _, err := r.Tree(good); err != nil {
				t.Error("afterwards:", err)
			}
		})
	}
}

// TestCorruptBlob: git does not hash what it hands over, HashBlob does.
func TestCorruptBlob(t *testing.T) {
	g := fixture.NewRepository(t)
	oid := g.Blob("one")
	overwrite(t, g, oid, loose(t, "blob 3\x00two"))
	hash := func() git.OID {
		var sum git.OID
		err := open(g).Blobs(t.Context(), []git.OID{oid}, func(_ int, size int64, r io.Reader) error {
			h := tree.HashBlob(tree.FormatSHA1, size)
			_, err := io.Copy(h, r)
			sum = h.OID()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if hash() == oid {
		t.Error("not noticed")
	}
	overwrite(t, g, oid, loose(t, "blob 3\x00one"))
	if hash() != oid {
		t.Error("right bytes, wrong hash")
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("plain directory", func(t *testing.T) {
		dir := t.TempDir()
		_, err := git.OpenRepository(t.Context(), dir, nil)
		var failed *git.Error
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "not a git repository") ||
			fault.RemedyOf(err) == "" {
			t.Error(err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "none")
		if _, err := git.OpenRepository(t.Context(), dir, nil); !errors.Is(err, os.ErrNotExist) ||
			!strings.Contains(err.Error(), dir) {
			t.Error(err)
		}
	})
	t.Run("file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := git.OpenRepository(t.Context(), file, nil); err == nil ||
			!strings.Contains(err.Error(), "is not a directory") {
			t.Error(err)
		}
	})
	t.Run("unknown extension", func(t *testing.T) {
		g := fixture.NewRepository(t)
		g.Git("config", "core.repositoryFormatVersion", "1")
		g.Git("config", "extensions.fromTheFuture", "true")
		if _, err := git.OpenRepository(t.Context(), g.Dir, nil); err == nil ||
			!strings.Contains(err.Error(), "fromthefuture") {
			t.Error(err)
		}
	})
	t.Run("context over", func(t *testing.T) {
		g := fixture.NewRepository(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("server stops")
		cancel(cause)
		if _, err := git.OpenRepository(ctx, g.Dir, nil); !errors.Is(err, cause) {
			t.Error(err)
		}
	})
	t.Run("no git", func(t *testing.T) {
		g := fixture.NewRepository(t)
		t.Setenv("PATH", t.TempDir())
		if _, err := git.OpenRepository(t.Context(), g.Dir, nil); !errors.Is(err, exec.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("old git", func(t *testing.T) {
		g := fixture.NewRepository(t)
		system, err := exec.LookPath("git")
		if err != nil {
			t.Fatal(err)
		}
		// A git that does not know the option, as before 2.36: its own words, of an option that no git knows.
		bin := t.TempDir()
		script := "#!/bin/sh\nexec '" + system + "' cat-file --batch-future --buffer\n"
		if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		_, err = git.OpenRepository(t.Context(), g.Dir, nil)
		var failed *git.Error
		if !errors.As(err, &failed) || !strings.Contains(fault.RemedyOf(err), "2.36") ||
			strings.Contains(err.Error(), "usage") {
			t.Error(err)
		}
	})
}

// TestLinkedWorktree: the git directory of a linked worktree has its objects and its config elsewhere.
func TestLinkedWorktree(t *testing.T) {
	g := fixture.NewRepository(t)
	commit := g.CommitTree(g.Tree(), "one")
	g.Git("worktree", "add", "-q", "--detach", filepath.Join(t.TempDir(), "w"), commit.String())
	r, err := git.OpenRepository(t.Context(), filepath.Join(g.Dir, "worktrees", "w"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Commit(commit); err != nil {
		t.Error(err)
	}
}
