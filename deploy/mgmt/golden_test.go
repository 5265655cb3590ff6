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
	if strings.HasPrefix(name, "puppet-") { // all of them have one
		name = "puppet"
	}
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

// goldenDump is a dump, with what it differs in from what we make of the same input.
type goldenDump struct {
	name, frontend, entry string
	mode, conf            string            // of puppet
	renamed               map[string]string // names in the dump, of what has another one in the input
	leftOut               []string          // by mgmt, which copies what the code refers to
	notInGit              []string          // git has no empty directories
	made                  bool              // a metadata.yaml
}

var goldens = []goldenDump{
	{name: "lang", frontend: mgmt.Lang, entry: "hello.mcl", made: true},
	{name: "lang-dir", frontend: mgmt.Lang, leftOut: []string{"README", "notes", "notes/deep", "notes/deep/n.txt"},
		notInGit: []string{"files/emptydir"}},
	{name: "yaml", frontend: mgmt.YAML, entry: "graph.yaml",
		renamed: map[string]string{"start.yaml": "graph.yaml"}},
	{name: "puppet-file", frontend: mgmt.Puppet, entry: "site.pp", mode: "file",
		renamed: map[string]string{"file.pp": "site.pp"}, leftOut: []string{"puppet.conf"}},
	{name: "puppet-conf", frontend: mgmt.Puppet, entry: "site.pp", mode: "file", conf: "puppet.conf",
		renamed: map[string]string{"file.pp": "site.pp"}},
	{name: "puppet-agent", frontend: mgmt.Puppet, entry: mgmt.Agent, mode: "agent"},
	{name: "empty", frontend: mgmt.Empty},
}

// noFiles tells whether the dump has no superblock.
func (g *goldenDump) noFiles() bool { return g.frontend == mgmt.Empty || g.mode == "agent" }

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
			want := &mgmt.Payload{Frontend: g.frontend, Mode: g.mode, Settings: mgmt.Settings{Sema: -1}}
			if g.noFiles() {
				want.InputURI = p.InputURI // there is no superblock to compare it with
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
				case g.renamed[at] != "":
					if sum != hexSum(input[g.renamed[at]].content) {
						t.Errorf("%s is not %s", at, g.renamed[at])
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
				if files[at] == "" && !slices.Contains(g.leftOut, at) && at != g.entry {
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
				mgmt.Options{Frontend: g.frontend, Entry: g.entry, Conf: g.conf, MaxValue: maxValue})
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
			if g.noFiles() {
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
				if g.frontend == mgmt.Puppet {
					continue // we leave it out, too
				}
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
				mgmt.Options{Frontend: g.frontend, Entry: g.entry, Conf: g.conf, MaxValue: maxValue})
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
			if g.noFiles() {
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
