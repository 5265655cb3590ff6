package mgmt_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
)

func TestMetadata(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "main.mcl", // mgmt's default
		"# nothing\n":                 "main.mcl",
		"license: MIT\n":              "main.mcl",
		"files: \"\"\npath: \"\"\n":   "main.mcl",
		"main: other.mcl\n":           "other.mcl",
		"main: 'sub/m.mcl'\n":         "sub/m.mcl",
		"main: ./sub//../other.mcl\n": "other.mcl",
		"{main: other.mcl, new: [1]}": "other.mcl",
		"main: link.mcl\n":            "link.mcl",
		"---\nmain: other.mcl\n...\n": "other.mcl",
		"main: 1\n":                   "1",
		"parentpathblock: yes\nmetadata: null\nmain: other.mcl\n": "other.mcl",
		"\ufeffmain: other.mcl\n":                                 "other.mcl",
	} {
		l, err := lay(with(text), mgmt.Options{Frontend: mgmt.Lang})
		if err != nil || l.Entry != want || l.Made != nil {
			t.Errorf("%q: got %+v, error %v; want %s", text, l, err, want)
		}
	}
}

// with is a tree with a metadata.yaml.
func with(text string) map[string]leaf {
	return map[string]leaf{
		"metadata.yaml": file(text), "main.mcl": file("main\n"), "other.mcl": file("other\n"),
		"sub/m.mcl": file("sub\n"), "1": file("one\n"),
		"link.mcl": link("sub/m.mcl"), "sub/m": submodule(),
	}
}

func TestMetadataRefused(t *testing.T) {
	for text, what := range map[string]string{
		"main: [":                          "cannot be read by mgmt: line 1",
		"main: missing.mcl":                `names main "missing.mcl", which leads nowhere: there is no "missing.mcl" in the tree`,
		"main: sub":                        `names main "sub", which is a directory`,
		"main: sub/m":                      "which leads into the submodule",
		"main: main.mcl/x":                 `"main.mcl" is a file`,
		"main: ../main.mcl":                "is not a file in the tree",
		"main: ..":                         "is not a file in the tree",
		"main: .":                          "is not a file in the tree",
		"main: /main.mcl":                  "is not a file's relative path",
		"main: sub/":                       "is not a file's relative path",
		"main: \"\"":                       "its main is empty",
		"main: [main.mcl]":                 "cannot unmarshal",
		"main: main.mcl\nmain: other.mcl":  "already defined",
		"- main.mcl":                       "cannot unmarshal",
		"main.mcl":                         "cannot unmarshal",
		"files: files":                     `its files "files" is not a directory's relative path`,
		"files: /files/":                   "is not a directory's relative path",
		"path: path":                       `its path "path" is not a directory's relative path`,
		"license: [MIT]":                   "cannot unmarshal",
		"parentpathblock: perhaps":         "cannot unmarshal",
		"metadata: text":                   "cannot unmarshal",
		"main: &a [*a]":                    "cannot be read by mgmt",
		"\xff":                             "is not UTF-8",
		"# " + strings.Repeat("x", 32<<10): "(limit 32 KiB)",
	} {
		_, err := lay(with(text), mgmt.Options{Frontend: mgmt.Lang})
		refused(t, err, "metadata.yaml", what)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: more than one line: %v", text, err)
		}
	}
}

// TestMetadataKinds: what stands at metadata.yaml.
func TestMetadataKinds(t *testing.T) {
	for name, c := range map[string]struct {
		change     map[string]leaf
		path, what string // "": it is laid out
	}{
		"link": {map[string]leaf{"metadata.yaml": link("sub/meta"), "sub/meta": file("main: other.mcl\n")},
			"", ""},
		"link to nothing": {map[string]leaf{"metadata.yaml": link("nothing")}, "metadata.yaml", "leads nowhere"},
		"directory":       {map[string]leaf{"metadata.yaml": emptyDirectory()}, "metadata.yaml", "is a directory"},
		"submodule":       {map[string]leaf{"metadata.yaml": submodule()}, "metadata.yaml", "submodule"},
	} {
		leaves := with("")
		maps.Copy(leaves, c.change)
		l, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang})
		switch {
		case c.what != "":
			refused(t, err, c.path, c.what)
		case err != nil || l.Entry != "other.mcl" || l.Made != nil:
			t.Errorf("%s: got %+v, error %v", name, l, err)
		}
	}
}

// TestMetadataAndEntry: an entry file beside a metadata.yaml.
func TestMetadataAndEntry(t *testing.T) {
	l, err := lay(with("main: ./other.mcl"), mgmt.Options{Frontend: mgmt.Lang, Entry: "other.mcl"})
	if err != nil || l.Entry != "other.mcl" {
		t.Errorf("got %+v, error %v", l, err)
	}
	_, err = lay(with("main: other.mcl"), mgmt.Options{Frontend: mgmt.Lang, Entry: "main.mcl"})
	refused(t, err, "metadata.yaml",
		`names main "other.mcl", and the entry file is set to "main.mcl": mgmt follows metadata.yaml`)
	_, err = lay(with(""), mgmt.Options{Frontend: mgmt.Lang, Entry: "other.mcl"})
	refused(t, err, "metadata.yaml", `names main "main.mcl"`)
}

// TestMadeMetadata: any file can be the entry file, and the metadata.yaml that is made leads to it.
func TestMadeMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Filter(func(s string) bool {
			return s != "" && s != "." && s != ".." && s != "metadata.yaml" && s != ".git" &&
				!strings.ContainsAny(s, "/\x00")
		}).Draw(t, "name")
		f := newForest()
		root := f.plant(map[string]leaf{name: file("code\n")})
		l, err := mgmt.Lay(context.Background(), f.source(root.OID),
			mgmt.Options{Frontend: mgmt.Lang, Entry: name, MaxValue: maxValue})
		if err != nil {
			t.Fatal(err)
		}
		var read map[string]string
		if err := yaml.Unmarshal(l.Made, &read); err != nil || len(read) != 1 || read["main"] != name {
			t.Fatalf("made %q, read as %v, error %v", l.Made, read, err)
		}
	})
	_, err := lay(map[string]leaf{"\xff.mcl": file("")}, mgmt.Options{Frontend: mgmt.Lang, Entry: "\xff.mcl"})
	refused(t, err, "\xff.mcl", "is not UTF-8")
	l, err := lay(map[string]leaf{"\xff.yaml": file("")}, mgmt.Options{Frontend: mgmt.YAML, Entry: "\xff.yaml"})
	if err != nil || l.Root.Children[0].Name != "start.yaml" {
		t.Errorf("got %+v, error %v", l, err)
	}
}

// TestMetadataTime: none that is taken keeps the server busy: neither aliases of aliases, nor many keys, nor many
// levels.
func TestMetadataTime(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'z'; c++ {
		aliases := strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 10), ",")
		bomb += string(c) + ": &" + string(c) + " [" + aliases + "]\n"
	}
	var keys strings.Builder
	for i := range 6_000 {
		keys.WriteString(string(rune('a'+i%26)) + strings.Repeat("k", i%3))
		keys.WriteString(": \n")
	}
	for name, text := range map[string]string{
		"aliases": bomb + "license: *z\n", "keys": keys.String(), "flow": "a: " + strings.Repeat("[", 32_000),
		"maps": strings.Repeat("metadata: {", 2_900), "anchors": strings.Repeat("- &a b\n", 4_500),
	} {
		start := time.Now()
		_, err := lay(with(text), mgmt.Options{Frontend: mgmt.Lang})
		refused(t, err, "metadata.yaml", "cannot be read by mgmt")
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: took %s", name, took)
		} else {
			t.Logf("%s: %s", name, took)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, g := range goldens {
		for key, value := range golden(f, g.name) {
			if strings.HasPrefix(key, "/storage/") && strings.Contains(string(value), "main:") {
				f.Add(string(value))
			}
		}
	}
	f.Add("main: &a ./sub/../other.mcl\nlicense: *a\n")
	f.Add("{main: \"\\u006dain.mcl\", metadata: {main: x}}")
	f.Fuzz(func(t *testing.T, text string) {
		forest := newForest()
		root := forest.plant(with(text))
		l, err := mgmt.Lay(context.Background(), forest.source(root.OID),
			mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
		if err != nil {
			refused(t, err, "metadata.yaml", "")
			return
		}
		d, err := mgmttest.Read(forest.keys(t, l))
		if err != nil || d.Entry != l.Entry {
			t.Fatalf("entry %q; the strict reader has %+v, error %v", l.Entry, d, err)
		}
	})
}
