package mgmt_test

import (
	"context"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
)

const goldenDir = "testdata/golden"

// golden gives the keys of a dump, without the namespace. JSON's byte slices are base64.
func golden(t testing.TB, name string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]byte{}
	if err := json.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	below, err := mgmttest.Below("/_mgmt", values)
	if err != nil {
		t.Fatal(err)
	}
	return below
}

// goldenInput gives what was deployed into a dump. The link in it is kept as a plain file that holds its target.
func goldenInput(t *testing.T, name string) map[string]leaf {
	t.Helper()
	leaves := map[string]leaf{}
	dir := filepath.Join(goldenDir, name+".input")
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, at)
		info, _ := d.Info()
		l := file(string(text))
		switch {
		case rel == "files/link.txt":
			l = link(string(text))
		case info.Mode()&0o100 != 0:
			l = exe(string(text))
		}
		leaves[filepath.ToSlash(rel)] = l
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

// one gives the value of the one key that begins and ends so.
func one(t testing.TB, keys map[string][]byte, prefix, suffix string) (key string, value []byte) {
	t.Helper()
	for k, v := range keys {
		if strings.HasPrefix(k, prefix) && strings.HasSuffix(k, suffix) {
			if key != "" {
				t.Fatalf("both %s and %s", key, k)
			}
			key, value = k, v
		}
	}
	if key == "" {
		t.Fatalf("no key %s…%s", prefix, suffix)
	}
	return key, value
}

// list gives paths and what is at them: "dir", or sha256 and whether it is executable.
func list(f *mgmt.File, above string) map[string]string {
	all := map[string]string{}
	for _, c := range f.Children {
		at := path.Join(above, c.Name)
		if c.Mode.IsDir() {
			all[at] = "dir"
			maps.Copy(all, list(c, at))
			continue
		}
		all[at] = c.SHA256.String()
	}
	return all
}

// goldens are the dumps, with what they differ in from what we make of the same input.
var goldens = []struct {
	name, frontend, entry string
	leftOut               []string // by mgmt, which copies what the code refers to
	notInGit              []string // git has no empty directories
	made                  bool     // a metadata.yaml
}{
	{name: "lang", frontend: mgmt.Lang, entry: "hello.mcl", made: true},
	{name: "lang-dir", frontend: mgmt.Lang, leftOut: []string{"README", "notes", "notes/deep", "notes/deep/n.txt"},
		notInGit: []string{"files/emptydir"}},
	{name: "yaml", frontend: mgmt.YAML, entry: "graph.yaml"},
	{name: "empty", frontend: mgmt.Empty},
}

// TestGoldenDecodes wants the dumps, decoded, to be what was deployed.
func TestGoldenDecodes(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			keys := golden(t, g.name)
			_, value := one(t, keys, "/deploy/1/", "payload")
			p, err := mgmt.DecodePayload(value)
			if err != nil {
				t.Fatal(err)
			}
			want := &mgmt.Payload{Frontend: g.frontend, Settings: mgmt.Settings{Sema: -1}}
			if g.frontend == mgmt.Empty {
				if diff := cmp.Diff(want, p); diff != "" {
					t.Error(diff)
				}
				return
			}
			at, value := one(t, keys, "/fs/deploy/", "")
			want.InputURI = mgmt.InputURI(at)
			if diff := cmp.Diff(want, p); diff != "" {
				t.Error(diff)
			}
			root, err := mgmt.DecodeSuperblock(value)
			if err != nil {
				t.Fatal(err)
			}
			if root.Mode != fs.ModeDir {
				t.Errorf("the root's mode is %v", root.Mode)
			}
			input, files := goldenInput(t, g.name), list(root, "")
			for at, sum := range files {
				_, inGit := input[at]
				switch {
				case sum == "dir" || !inGit && g.made && at == "metadata.yaml":
				case g.frontend == mgmt.YAML && at == "start.yaml":
					if sum != hexSum(input[g.entry].content) {
						t.Errorf("%s is not %s", at, g.entry)
					}
				case at == "files/link.txt":
					if sum != hexSum(input["files/hello.txt"].content) {
						t.Errorf("%s is not what it links to", at)
					}
				case !inGit || sum != hexSum(input[at].content):
					t.Errorf("%s is not what was deployed", at)
				}
			}
			for at := range input {
				if files[at] == "" && !slices.Contains(g.leftOut, at) && g.frontend != mgmt.YAML {
					t.Errorf("%s is missing", at)
				}
			}
		})
	}
}

// TestGoldenEncodes commits what the dumps were made of, with git, and wants what we write of it, decoded, to be the
// same: but for ids, times, modes, the made metadata.yaml, and what mgmt leaves out or git has not.
func TestGoldenEncodes(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			input := goldenInputOrNothing(t, g.name, g.frontend)
			f, root := commit(t, input)
			l, err := mgmt.Lay(context.Background(), f.source(root),
				mgmt.Options{Frontend: g.frontend, Entry: g.entry, MaxValue: maxValue})
			if err != nil {
				t.Fatal(err)
			}
			if g.made != (l.Made != nil) {
				t.Errorf("made metadata.yaml %q", l.Made)
			}
			theirs, ours := golden(t, g.name), f.keys(t, l)
			_, theirPayload := one(t, theirs, "/deploy/1/", "payload")
			want, err := mgmt.DecodePayload(theirPayload)
			if err != nil {
				t.Fatal(err)
			}
			got, err := mgmt.DecodePayload(ours["/deploy/3/payload"])
			if err != nil {
				t.Fatal(err)
			}
			want.InputURI, got.InputURI = want.InputURI[:min(len(want.InputURI), len("etcdfs:///fs/deploy/"))],
				got.InputURI[:min(len(got.InputURI), len("etcdfs:///fs/deploy/"))]
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("payload (-theirs +ours):\n%s", diff)
			}
			if g.frontend == mgmt.Empty {
				if l.Root != nil || l.Superblock != nil || l.Made != nil || l.Files != 0 {
					t.Errorf("empty lays out %+v", l)
				}
				return
			}
			_, value := one(t, theirs, "/fs/deploy/", "")
			theirRoot, err := mgmt.DecodeSuperblock(value)
			if err != nil {
				t.Fatal(err)
			}
			ourRoot, err := mgmt.DecodeSuperblock(ours[mgmt.SuperblockPath(3, uuid)])
			if err != nil {
				t.Fatal(err)
			}
			wantFiles, gotFiles := list(theirRoot, ""), list(ourRoot, "")
			for _, at := range g.leftOut {
				if gotFiles[at] == "" {
					t.Errorf("%s is not deployed", at)
				}
				delete(gotFiles, at)
			}
			for _, at := range g.notInGit {
				delete(wantFiles, at)
			}
			if g.made {
				if string(l.Made) != "main: \"hello.mcl\"\n" || gotFiles["metadata.yaml"] != hexSum(string(l.Made)) {
					t.Errorf("made metadata.yaml is %q, with sha256 %s", l.Made, gotFiles["metadata.yaml"])
				}
				delete(wantFiles, "metadata.yaml")
				delete(gotFiles, "metadata.yaml")
			}
			if diff := cmp.Diff(wantFiles, gotFiles); diff != "" {
				t.Errorf("files (-theirs +ours):\n%s", diff)
			}
		})
	}
}

// goldenInputOrNothing: the dump of empty was made of nothing, and a commit has something.
func goldenInputOrNothing(t *testing.T, name, frontend string) map[string]leaf {
	if frontend == mgmt.Empty {
		return map[string]leaf{"README": file("whatever\n")}
	}
	return goldenInput(t, name)
}

// TestGoldenReads has the strict reader read the dumps, and what we write of the same input.
func TestGoldenReads(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			theirs, err := mgmttest.Read(golden(t, g.name))
			if err != nil {
				t.Fatal(err)
			}
			f, root := commit(t, goldenInputOrNothing(t, g.name, g.frontend))
			l, err := mgmt.Lay(context.Background(), f.source(root),
				mgmt.Options{Frontend: g.frontend, Entry: g.entry, MaxValue: maxValue})
			if err != nil {
				t.Fatal(err)
			}
			ours, err := mgmttest.Read(f.keys(t, l))
			if err != nil {
				t.Fatal(err)
			}
			if theirs.Name != g.frontend || ours.Name != g.frontend || theirs.ID != 1 || ours.ID != 3 ||
				theirs.Entry != ours.Entry {
				t.Errorf("theirs is %+v, ours %+v", theirs, ours)
			}
			if g.frontend == mgmt.Empty {
				return
			}
			want, _ := fs.ReadFile(theirs.FS, theirs.Entry)
			got, _ := fs.ReadFile(ours.FS, ours.Entry)
			if len(want) == 0 || string(want) != string(got) {
				t.Errorf("they start with %q, we with %q", want, got)
			}
			for name, fsys := range map[string]fs.FS{"theirs": theirs.FS, "ours": ours.FS} {
				if err := fstest.TestFS(fsys, ours.Entry); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}
