package mgmt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/mgmt"
)

// TestLoneFile: what is made of one file is what mgmt's own command makes of it, byte for byte.
func TestLoneFile(t *testing.T) {
	for _, c := range []struct{ golden, frontend, input, entry string }{
		{"lang", mgmt.Lang, "lang.input/hello.mcl", ""},
		{"yaml", mgmt.YAML, "yaml.input/graph.yaml", ""},
		{"puppet-file", mgmt.Puppet, "puppet.input/site.pp", "file.pp"},
	} {
		content, err := os.ReadFile(filepath.Join(goldenDir, c.input))
		if err != nil {
			t.Fatal(err)
		}
		files, entry, err := mgmt.LoneFile(c.frontend, filepath.Base(c.input), content)
		if err != nil || entry != c.entry {
			t.Fatalf("%s: entry %q, %v", c.golden, entry, err)
		}
		theirs, leaves := golden(t, c.golden), map[string]leaf{}
		for name, text := range files {
			leaves[name] = file(string(text))
			if stored, ok := theirs[storageKey(string(text))]; !ok || string(stored) != string(text) {
				t.Errorf("%s: mgmt has no %s of %q", c.golden, name, text)
			}
		}
		l, err := lay(leaves, mgmt.Options{Frontend: c.frontend, Entry: entry})
		if err != nil || l.Made != nil {
			t.Fatalf("%s: made %q, %v", c.golden, l.Made, err)
		}
		_, value := one(t, theirs, "/fs/deploy/", "")
		root, err := mgmt.DecodeSuperblock(value)
		if err != nil || !mgmt.SameFiles(root, l.Root) {
			t.Errorf("%s (-theirs +ours), %v:\n%s", c.golden, err, cmp.Diff(list(root, ""), list(l.Root, "")))
		}
	}
}

// Any name of a file comes back out of the metadata.yaml that names it, or is refused.
func TestLoneFileNames(t *testing.T) {
	for _, name := range []string{"a.mcl", "true", "- x", "a: b", "ä b.mcl", "'q\"", "#x", "0x10", " a", "a\tb", "null",
		"~"} {
		files, _, err := mgmt.LoneFile(mgmt.Lang, name, nil)
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		l, err := lay(map[string]leaf{name: file(""), "metadata.yaml": file(string(files["metadata.yaml"]))},
			mgmt.Options{Frontend: mgmt.Lang})
		if err != nil || l.Entry != name {
			t.Errorf("%q: %+v, %v; metadata.yaml:\n%s", name, l, err, files["metadata.yaml"])
		}
	}
	for name, want := range map[string]string{"metadata.yaml": "the name of what mgmt reads", "a\xff": "not UTF-8"} {
		if _, _, err := mgmt.LoneFile(mgmt.Lang, name, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, frontend := range []string{mgmt.Auto, mgmt.Empty, "files"} {
		if _, _, err := mgmt.LoneFile(frontend, "a", nil); err == nil {
			t.Errorf("%s takes a file", frontend)
		}
	}
}
