package mgmttest_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"refship/deploy/mgmt/mgmttest"
)

func golden(t *testing.T, name string) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/golden/" + name + ".json")
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

// TestDangerousKeys: what makes a running mgmt ignore every deploy, and a starting one exit.
func TestDangerousKeys(t *testing.T) {
	for _, key := range []string{
		"/deploy/latest", "/deploy/1/meta/x", "/deploy/x/payload", // as they were tried out
		"/deploy", "/deploy/", "/deploy/1", "/deploy/1/", "/deploy//payload", "/deploy/1//payload",
		"/deploy/1/payload/",
		"/deploy/0/payload", "/deploy/01/payload", "/deploy/+1/payload", "/deploy/-1/payload", "/deploy/1.0/payload",
		"/deploy/ 1/payload",
		"/deploy/18446744073709551616/payload", "/deploy/record/1", "deploy/1/payload", "",
	} {
		if err := mgmttest.CheckKeys([]string{"/refship/head", key}); err == nil {
			t.Errorf("%q is taken", key)
		}
		values := golden(t, "lang")
		values[key] = []byte("x")
		if d, err := mgmttest.Read(values); err == nil {
			t.Errorf("with %q there is read %+v", key, d)
		}
	}
	for _, key := range []string{"/scheduler/x", "/resources/x", "/strings", "/converged/x", "/chooser/x",
		"/endpoints/x", "/nominated/x", "/volunteer/x"} {
		if err := mgmttest.CheckKeys([]string{key}); err == nil {
			t.Errorf("%q is taken", key)
		}
	}
}

func TestHarmlessKeys(t *testing.T) {
	harmless := []string{
		"/deploy/1/payload", "/deploy/1/hash", "/deploy/1/record", "/deploy/12/signature",
		"/deploy/18446744073709551615/hash",
		"/fs/deploy/1-x", "/storage/{sha256}00", "/refship/head", "/refship/tree/00/1", "/deployments",
	}
	if err := mgmttest.CheckKeys(harmless); err != nil {
		t.Error(err)
	}
	values := golden(t, "lang")
	for _, key := range harmless[2:] {
		values[key] = []byte("x")
	}
	if d, err := mgmttest.Read(values); err != nil || d.ID != 1 {
		t.Errorf("got %+v, error %v", d, err)
	}
	if below, err := mgmttest.Below("/_mgmt", map[string][]byte{"/_mgmtx/a": nil}); err == nil {
		t.Errorf("%v is below", below)
	}
}

func TestReadGoldens(t *testing.T) {
	for name, want := range map[string]struct {
		frontend, entry string
		files           map[string]string // each begins so
	}{
		"empty":        {"empty", "", nil},
		"yaml":         {"yaml", "start.yaml", map[string]string{"start.yaml": "---\ngraph: mygraph\n"}},
		"puppet-agent": {"puppet", "", nil},
		"puppet-file":  {"puppet", "file.pp", map[string]string{"file.pp": "file { \"/tmp/x\""}},
		"puppet-conf":  {"puppet", "file.pp", map[string]string{"file.pp": "file {", "puppet.conf": "[main]\n"}},
		"lang": {"lang", "hello.mcl", map[string]string{"hello.mcl": "file \"/tmp",
			"metadata.yaml": "main: hello.mcl\n"}},
		"lang-dir": {"lang", "main.mcl", map[string]string{
			"main.mcl": "import", "metadata.yaml": "main: \"main.mcl\"\n", "files/hello.txt": "hello text\n",
			"files/link.txt": "hello text\n",
			"files/run.sh":   "#!/bin/sh\n", "files/sub/nested.txt": "nested text\n", "files/zero": "",
			"mymod/main.mcl": "class thing", "mymod/metadata.yaml": "main",
		}},
	} {
		d, err := mgmttest.Read(golden(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.ID != 1 || d.Name != want.frontend || d.Entry != want.entry || d.Sema != -1 || d.Noop || d.NoAutoEdges ||
			d.NoAutoGroup || d.Hash != "" {
			t.Errorf("%s: got %+v", name, d)
		}
		if want.files == nil {
			continue
		}
		for at, begin := range want.files {
			if text, err := fs.ReadFile(d.FS, at); err != nil || !strings.HasPrefix(string(text), begin) {
				t.Errorf("%s: %s is %q, error %v", name, at, text, err)
			}
		}
		files := 0
		if err := fs.WalkDir(d.FS, ".", func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				files++
			}
			return err
		}); err != nil || files != len(want.files) {
			t.Errorf("%s: %d files, error %v", name, files, err)
		}
		if err := fstest.TestFS(d.FS, want.entry); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReadRefuses takes every value of a dump away, and damages it: mgmt needs them all but the empty content.
func TestReadRefuses(t *testing.T) {
	for _, name := range []string{"lang", "lang-dir", "yaml", "empty", "puppet-file", "puppet-conf", "puppet-agent"} {
		whole := golden(t, name)
		for key := range whole {
			empty := strings.HasSuffix(key, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
			without := maps.Clone(whole)
			delete(without, key)
			if _, err := mgmttest.Read(without); (err == nil) != empty {
				t.Errorf("%s without %s: error %v", name, key, err)
			}
			damaged := maps.Clone(whole)
			damaged[key] = append([]byte("x"), whole[key]...)
			if _, err := mgmttest.Read(damaged); err == nil && (!empty || name == "lang-dir") {
				t.Errorf("%s with another %s is read", name, key)
			}
		}
	}
	if d, err := mgmttest.ReadID(golden(t, "lang"), 2); err == nil {
		t.Errorf("deploy 2 is read: %+v", d)
	}
	values := golden(t, "lang")
	values["/deploy/1/hash"] = []byte("5d6e\n")
	if d, err := mgmttest.Read(values); err == nil {
		t.Errorf("a hash with a line feed is read: %+v", d)
	}
}
