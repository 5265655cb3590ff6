package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/text"
	"refship/deploy/tree"
)

const oid160 = "5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80"

// noise is content that does not compress, always the same for the same size.
func noise(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(b)
	return string(b)
}

func TestOddNamesModesAndLinksReadBackAsGitHasThem(t *testing.T) {
	f := newSetup(t)
	all := files{
		"file":                        regular("one\n"),
		"executable":                  {"100755", "#!/bin/sh\n"},
		"same executable":             {"100755", "one\n"},
		"empty":                       regular(""),
		"dir/empty too":               regular(""),
		"link":                        {"120000", "dir/empty too"},
		"link whose target is file's": {"120000", "one\n"},
		"up":                          {"120000", "../../../../etc/passwd"},
		"absolute":                    {"120000", "/etc/passwd"},
		"dangling":                    {"120000", "no such\nfile"},
		"to a directory":              {"120000", "dir"},
		"a b/c d":                     regular("spaces"),
		"line\nfeed/and\ttab":         regular("newline"),
		"latin1 \xe9\xff":             regular("not UTF-8"),
		"ünïcode/日本":                  regular("UTF-8"),
		"-rf":                         regular("a leading dash"),
		"--/-":                        regular("more dashes"),
		"'quotes' \"double\" `back`":  regular("quoted"),
		"back\\slash":                 regular("\\"),
		"$(id)":                       regular("shell"),
		".hidden/..three":             regular("dots"),
		"a.b":                         regular("order"), "a/x": regular("order"), "a0": regular("order"),
		"a-":                     regular("order"),
		strings.Repeat("n", 255): regular("a name of 255 bytes"),
		"sub/module":             {"160000", oid160},
	}
	p, lock := f.prepare(f.job(f.repo.commit("all", all)))
	if len(p.Submodules) != 1 || p.Submodules[0] != "sub/module" {
		t.Errorf("submodules %q", p.Submodules)
	}
	if p.Files != len(all)-1 || p.Changed != len(all)-1 {
		t.Errorf("%d files, %d changed; want %d", p.Files, p.Changed, len(all)-1)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := f.deploy(p.Verdict.Commits[0])
	f.sameAsGit(d)
	var b bytes.Buffer
	if err := f.chain.Cat(t.Context(), d, &b, "up"); err != nil || b.String() != "../../../../etc/passwd" {
		t.Errorf("cat of a link: %q, %v", b.String(), err)
	}
	for path, want := range map[string]string{
		"to a directory/empty too": "is no directory", "dir": "is a directory", "sub/module": oid160,
		"none": `no "none"`, "file/x": "is no directory", "../file": `no ".."`, "dir//empty too": `no ""`,
		"": "is a directory",
	} {
		if err := f.chain.Cat(t.Context(), d, &b, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cat %q: %v, want %q", path, err, want)
		}
	}
}

func TestListTellsOneDirectoryOrOneFile(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.repo.commit("all", files{"a/b/c": regular("c"), "a/d": regular("d"), "e": regular("e")}))
	for where, want := range map[string]string{
		"": "a e", "/": "a e", "a": "a/b a/d", "a/": "a/b a/d", "a/b": "a/b/c", "a/b/c": "a/b/c", "e": "e",
	} {
		var got []string
		err := f.chain.List(t.Context(), d, where, false, func(path string, _ tree.Entry) error {
			got = append(got, path)
			return nil
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("list %q: %q, %v; want %q", where, got, err, want)
		}
	}
	stop := errors.New("stop")
	if err := f.chain.List(t.Context(), d, "", true, func(string, tree.Entry) error { return stop }); !errors.Is(err,
		stop) {
		t.Errorf("list: %v, want the callback's error", err)
	}
}

func TestEmptyTrees(t *testing.T) {
	f := newSetup(t)
	first := f.deploy(f.repo.commit("nothing", files{}))
	f.sameAsGit(first)
	empty := f.repo.mktree("")
	nested := f.repo.mktree(fmt.Sprintf("040000 tree %s\tempty directory\x00", empty))
	second := f.deploy(f.repo.commitTree(nested, first.Hash.OID()))
	dir := filepath.Join(t.TempDir(), "out")
	if err := f.chain.Checkout(t.Context(), second, dir, quiet); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{".": "directory", "empty directory": "directory"} // which git archive leaves out
	if diff := cmp.Diff(want, manifest(t, dir)); diff != "" {
		t.Errorf("checkout (-want +got):\n%s", diff)
	}
	third := f.deploy(f.repo.commitTree(empty, second.Hash.OID()))
	f.sameAsGit(third)
	if third.Record.Files != 0 {
		t.Errorf("%d files in an empty tree", third.Record.Files)
	}
}

func TestSizesAroundAChunk(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	all := files{}
	for _, size := range []int{tree.ChunkSize - 1, tree.ChunkSize, tree.ChunkSize + 1, 2 * tree.ChunkSize,
		2*tree.ChunkSize + 1} {
		all[fmt.Sprint(size)] = regular(noise(size))
	}
	all["9.5 MB"] = regular(noise(9_500_000))
	d := f.deploy(f.repo.commit("sizes", all))
	f.sameAsGit(d)
	chunks := map[int]int{}
	for key, value := range f.dump() {
		if strings.Contains(key, "/storage/") {
			if len(value) > tree.ChunkSize {
				t.Errorf("%s has %d bytes", key, len(value))
			}
			if _, cut, ok := strings.Cut(key, "}"); ok && strings.Contains(cut, "/") {
				chunks[len(value)]++
			}
		}
	}
	if chunks[tree.ChunkSize] != 1+2+2+9 || chunks[1] != 2 || len(chunks) != 3 {
		t.Errorf("chunks by size: %v", chunks)
	}
}

func TestWideDirectoryAndOneFileChangedInIt(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	const wide = 4000 // long names: a node of more than one chunk
	all := files{}
	for i := range wide {
		all[fmt.Sprintf("wide/%0250d", i)] = regular(fmt.Sprint(i % 7))
	}
	first := f.deploy(f.repo.commit("wide", all))
	before := f.dump()
	all[fmt.Sprintf("wide/%0250d", 1234)] = regular("changed")
	second := f.deploy(f.repo.commit("one", all, first.Hash.OID()))
	after := f.dump()
	if second.Record.Files != wide {
		t.Errorf("%d files", second.Record.Files)
	}
	cut := 0
	for key := range after {
		if before[key] == "" && strings.HasPrefix(key, own+"tree/") && strings.Count(key[len(own):], "/") == 2 {
			cut++
		}
	}
	if cut < 2 {
		t.Errorf("the node of the wide directory was cut into %d", cut)
	}
	f.sameCheckout(second)
}

func TestSameContentAndSameSubtreeInManyPlaces(t *testing.T) {
	f := newSetup(t)
	all := files{}
	for i := range 50 {
		all[fmt.Sprintf("copy/%d", i)] = regular("the same content")
	}
	// The same subtree at different depths: its height is one, whatever lies above it.
	for _, at := range []string{"s", "z/s", "z/y/s", "a/b/c/d/s", "a/s"} {
		all[at+"/deep/er/file"] = regular("shared")
		all[at+"/file"] = regular("shared too")
	}
	p, lock := f.prepare(f.job(f.repo.commit("all", all)))
	if p.NewContents != 3 {
		t.Errorf("%d contents, want 3", p.NewContents)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := f.deploy(p.Verdict.Commits[0])
	f.sameAsGit(d)
	for _, at := range []string{"s", "z/s"} { // move them about
		delete(all, at+"/file")
	}
	all["new/place/s/deep/er/file"] = regular("shared")
	all["new/place/s/file"] = regular("shared too")
	f.sameAsGit(f.deploy(f.repo.commit("moved", all, d.Hash.OID())))
}

func TestAFileBecomesSomethingElseAndBack(t *testing.T) {
	f := newSetup(t)
	other := file{content: "other"}
	shapes := []files{
		{"x": regular("target"), "o": other},
		{"x": {"120000", "target"}, "o": other},
		{"x/target": regular("target"), "o": other},
		{"x": {"160000", oid160}, "o": other},
		{"x": {"100755", "target"}, "o": other},
		{"x": regular("target"), "o": other},
		{"o": other},
		{"x": {"120000", "target"}, "o": other},
	}
	counts := []int{2, 2, 2, 1, 2, 2, 1, 2}
	var parents []tree.OID
	for i, shape := range shapes {
		d := f.deploy(f.repo.commit(fmt.Sprint("shape ", i), shape, parents...))
		f.sameAsGit(d)
		if d.Record.Files != counts[i] {
			t.Errorf("shape %d has %d files, want %d", i, d.Record.Files, counts[i])
		}
		parents = []tree.OID{d.Hash.OID()}
	}
}

func TestTreesThatNoFileSystemHoldsAreRefused(t *testing.T) {
	f := newSetup(t)
	long := strings.Repeat(strings.Repeat("d", 99)+"/", 41)
	for name, c := range map[string]struct {
		all           files
		message, hint string
	}{
		"name": {files{"dir/" + strings.Repeat("n", 256): regular("x")}, "name is 256 bytes (limit 255)",
			"shorten the name"},
		"path":  {files{long + "x": regular("x")}, " bytes (limit 4095)", "shorten the name"},
		"depth": {files{strings.Repeat("d/", 200) + "x": regular("x")}, " has 201 elements (limit 200)", "shorten the name"},
		"long link": {files{"dir/l": {"120000", strings.Repeat("t", 4096)}},
			`symbolic link "dir/l" has a target of 4096 bytes`, "remove the link"},
		"NUL link": {files{"dir/l": {"120000", "a\x00b"}}, `symbolic link "dir/l" has a NUL`, "remove the link"},
		"no link":  {files{"dir/l": {"120000", ""}}, `symbolic link "dir/l" has a target of 0 bytes`, "remove the link"},
		"huge link": {files{"dir/l": {"120000", strings.Repeat("t", 3<<20)}},
			`symbolic link "dir/l" has a target of 3145728 bytes`, "remove the link"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := f.do(f.job(f.repo.commit(name, c.all)))
			fixture.WantFault(t, fault.Refused, err, c.message, c.hint)
			if all := f.dump(); len(all) != 0 {
				t.Errorf("etcd has %d keys", len(all))
			}
		})
	}
}

// A file's content that was deployed as a file is looked at again when a link has it.
func TestALinkWhoseTargetWasAFile(t *testing.T) {
	f := newSetup(t)
	bad := "a\x00b"
	d := f.deploy(f.repo.commit("file", files{"x": regular(bad)}))
	head := d.Hash.OID()
	for name, all := range map[string]files{
		"same name":  {"x": {"120000", bad}},
		"other name": {"x": regular(bad), "y": {"120000", bad}},
		"elsewhere":  {"x": regular(bad), "dir/y": {"120000", bad}},
	} {
		_, _, err := f.do(f.job(f.repo.commit(name, all, head)))
		fixture.WantFault(t, fault.Refused, err, "has a NUL", "remove the link")
	}
}

// A subtree that etcd has already, moved to where its paths are too long.
func TestAMovedSubtreeIsTooDeep(t *testing.T) {
	f := newSetup(t)
	low := strings.Repeat(strings.Repeat("l", 99)+"/", 30) + "file"
	d := f.deploy(f.repo.commit("low", files{"a/" + low: regular("x")}))
	high := strings.Repeat(strings.Repeat("h", 99)+"/", 14)
	_, _, err := f.do(f.job(f.repo.commit("high", files{high + low: regular("x")}, d.Hash.OID())))
	fixture.WantFault(t, fault.Refused, err, "is 4099 bytes (limit 4095)", "shorten the name")
}

func TestTreeBombIsRefusedQuickly(t *testing.T) {
	for name, leaf := range map[string]int{"directories": 1, "files": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSetup(t)
			blob := f.repo.Blob("x")
			var lines strings.Builder
			for i := range leaf {
				fmt.Fprintf(&lines, "100644 blob %s\tf%05d\x00", blob, i)
			}
			at := f.repo.mktree(lines.String())
			for range 10 {
				lines.Reset()
				for i := range 10 {
					fmt.Fprintf(&lines, "040000 tree %s\td%d\x00", at, i)
				}
				at = f.repo.mktree(lines.String())
			}
			start := time.Now()
			_, _, err := f.do(f.job(f.repo.commitTree(at)))
			fixture.WantFault(t, fault.Refused, err, "the tree has at least ", "give the target a path")
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %s", took)
			}
			if all := f.dump(); len(all) != 0 {
				t.Errorf("etcd has %d keys", len(all))
			}
		})
	}
}

func TestDeployOfAPathStoresTheTreesAbove(t *testing.T) {
	f := newSetup(t)
	f.path = "srv/web"
	all := files{"README": regular("r"), "srv/other": regular("o"), "srv/web/index": regular("i"),
		"srv/web/css/a": regular("a")}
	d := f.deploy(f.repo.commit("all", all))
	f.sameAsGit(d)
	keys := f.dump()
	for _, rev := range []string{string(d.Hash), string(d.Hash) + ":", string(d.Hash) + ":srv"} {
		oid := f.repo.OID("rev-parse", rev)
		raw := keys[own+"object/"+oid.String()]
		_, body, _ := strings.Cut(raw, "\x00")
		kind, _, _ := strings.Cut(raw, " ")
		got := strings.TrimSpace(string(f.repo.run([]byte(body), "hash-object", "-t", kind, "--stdin")))
		if got != oid.String() {
			t.Errorf("object %s hashes to %s", oid, got)
		}
	}
	for key, value := range keys {
		if value == "o" || value == "r" {
			t.Errorf("%s has content from outside of the path", key)
		}
	}
	for path, want := range map[string]string{
		"srv/none": "does not exist", "srv/other": "is a file", "srv/../srv/web": "is not a path", "/srv": "is not a path",
	} {
		f.path = path
		_, _, err := f.do(f.job(d.Hash.OID()))
		fixture.WantFault(t, fault.Refused, err, want, "path-missing config default")
	}
}

func TestCheckoutIntoWhatCannotBe(t *testing.T) {
	f := newSetup(t)
	d := f.deploy(f.repo.commit("all", files{"a": regular("a")}))
	dir := t.TempDir()
	fixture.WantFault(t, fault.Failed, f.chain.Checkout(t.Context(), d, dir, quiet), "is there already",
		"does not exist yet")
	fixture.WantFault(t, fault.Failed, f.chain.Checkout(t.Context(), d, filepath.Join(dir, "no", "where"), quiet),
		`to make "where" in`, "make it first")
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	fixture.WantFault(t, fault.Failed, f.chain.Checkout(t.Context(), d, filepath.Join(dir, "link"), quiet),
		"is there already", "")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("checkout left %v, %v", left, err)
	}
	var progress []text.Progress
	if err := f.chain.Checkout(t.Context(), d, filepath.Join(dir, "new")+"/",
		func(p text.Progress) { progress = append(progress, p) }); err != nil {
		t.Fatal(err)
	}
	want := text.Progress{Step: "writing", Files: 1, FilesTotal: 1, Bytes: 1}
	if len(progress) != 1 || progress[0] != want {
		t.Errorf("progress %+v, want %+v", progress, want)
	}
}
