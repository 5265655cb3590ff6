package mgmt_test

import (
	"io/fs"
	"strings"
	"testing"

	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
)

// TestVersionFile: mgmt's code finds the deploy's hash in a file, and every other file is that of the tree.
func TestVersionFile(t *testing.T) {
	hash := strings.Repeat("5d", 20)
	leaves := map[string]leaf{
		"main.mcl": file("code"), "files/motd": file("hello"), "run": exe("#!"), "link": link("main.mcl"),
	}
	for _, at := range []string{"files/version", "new/deep/version", "version"} {
		f := newForest()
		root := f.plant(leaves)
		lay := func(version string) *mgmt.Layout {
			t.Helper()
			l, err := mgmt.Lay(t.Context(), f.source(root.OID),
				mgmt.Options{Frontend: mgmt.Lang, VersionFile: at, Version: version, MaxValue: maxValue})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		l := lay(hash)
		read, err := mgmttest.Read(f.keys(t, l))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := fs.ReadFile(read.FS, at); err != nil || string(got) != hash {
			t.Errorf("%s is %q, %v", at, got, err)
		}
		if l.Files != 6 || string(l.Version) != hash {
			t.Errorf("%d files, version %q", l.Files, l.Version)
		}
		without, err := mgmt.Lay(t.Context(), f.source(root.OID), mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
		if err != nil {
			t.Fatal(err)
		}
		want, got := list(without.Root, ""), list(l.Root, "")
		for path := range got {
			if isNew := want[path] == ""; isNew != (path == at || strings.HasPrefix(at, path+"/") && path != "files") {
				t.Errorf("%s: %s is new: %v", at, path, isNew)
			}
		}
		for path, is := range want {
			if got[path] != is {
				t.Errorf("%s: %s is %q, want %q", at, path, got[path], is)
			}
		}
		if other := lay(strings.Repeat("6e", 20)); string(other.Superblock) == string(l.Superblock) {
			t.Error("another hash gives the same superblock")
		}
	}
}

func TestVersionFileIsRefused(t *testing.T) {
	leaves := map[string]leaf{"main.mcl": file("code"), "files/motd": file("hello"), "start.yaml": file("graph: x")}
	for _, c := range []struct{ frontend, at, path, what string }{
		{mgmt.Lang, "files/motd", "files/motd", "is there already"},
		{mgmt.Lang, "files", "files", "is there already"},
		{mgmt.Lang, "metadata.yaml", "metadata.yaml", "is there already"},
		{mgmt.Lang, "main.mcl/version", "main.mcl/version", `"main.mcl" is a file in the tree`},
		{mgmt.Lang, "../version", "", "is not a path in the tree"},
		{mgmt.Lang, "/version", "", "is not a path in the tree"},
		{mgmt.YAML, "version", "", "frontend yaml cannot read it"},
		{mgmt.Empty, "version", "", "frontend empty cannot read it"},
	} {
		_, err := lay(leaves, mgmt.Options{Frontend: c.frontend, VersionFile: c.at, Version: "v"})
		refused(t, err, c.path, c.what)
	}
}
