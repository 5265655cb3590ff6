package mgmt_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
)

// TestPuppet: one manifest and the puppet.conf that is set become what mgmt opens, and an agent's catalog has no files.
func TestPuppet(t *testing.T) {
	leaves := map[string]leaf{
		"site.pp": file("site\n"), "manifests/web.pp": file("web\n"), "conf/my.conf": file("[main]\n"),
		"current": link("manifests/web.pp"), "README": file("read me\n"),
	}
	manifest := func(content string) *mgmt.File {
		return &mgmt.File{Name: "file.pp", Mode: 0o644, SHA256: sum(content), Size: int64(len(content))}
	}
	conf := &mgmt.File{Name: "puppet.conf", Mode: 0o644, SHA256: sum("[main]\n"), Size: 7}
	for name, c := range map[string]struct {
		entry, conf string
		want        mgmt.Layout
		files       []*mgmt.File
	}{
		"default": {"", "", mgmt.Layout{Mode: "file", Entry: "site.pp", Files: 1}, []*mgmt.File{manifest("site\n")}},
		"manifest": {"manifests/web.pp", "", mgmt.Layout{Mode: "file", Entry: "manifests/web.pp", Files: 1},
			[]*mgmt.File{manifest("web\n")}},
		"link": {"current", "", mgmt.Layout{Mode: "file", Entry: "current", Files: 1}, []*mgmt.File{manifest("web\n")}},
		"conf": {"", "conf/my.conf", mgmt.Layout{Mode: "file", Entry: "site.pp", Files: 2},
			[]*mgmt.File{manifest("site\n"), conf}},
		"agent": {mgmt.Agent, "", mgmt.Layout{Mode: "agent"}, nil},
	} {
		got, err := lay(leaves, mgmt.Options{Frontend: mgmt.Puppet, Entry: c.entry, Conf: c.conf})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.want.Frontend = mgmt.Puppet
		if c.files != nil {
			c.want.Root = &mgmt.File{Mode: 1 << 31, Children: c.files}
		}
		if diff := cmp.Diff(&c.want, got, cmpopts.IgnoreFields(mgmt.Layout{}, "Superblock")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if (got.Superblock == nil) != (c.files == nil) {
			t.Errorf("%s: superblock of %d bytes", name, len(got.Superblock))
		}
	}
}

// TestPuppetRefuses: what no mgmt runs, and what a setting is not for.
func TestPuppetRefuses(t *testing.T) {
	leaves := with("")
	leaves["site.pp"], leaves["d/x.pp"], leaves["out"] = file(""), file(""), link("../x")
	for _, c := range []struct{ frontend, entry, conf, path, what string }{
		{mgmt.Puppet, "", "none.conf", "none.conf", "is not in the tree, and is set as puppet.conf"},
		{mgmt.Puppet, "", "d", "d", "is a directory, and is set as puppet.conf"},
		{mgmt.Puppet, "", "out", "out", "leaves the tree, and is set as puppet.conf"},
		{mgmt.Puppet, "", "../x", "", `puppet.conf "../x" is not a path in the tree`},
		{mgmt.Puppet, mgmt.Agent, "site.pp", "", "reads none for the catalog of an agent"},
		{mgmt.Lang, "", "site.pp", "", "frontend lang reads none"},
		{mgmt.Empty, "", "site.pp", "", "frontend empty reads none"},
	} {
		_, err := lay(leaves, mgmt.Options{Frontend: c.frontend, Entry: c.entry, Conf: c.conf})
		refused(t, err, c.path, c.what)
	}
	_, err := lay(leaves, mgmt.Options{Frontend: mgmt.Puppet, Entry: "d"})
	if remedy := fault.RemedyOf(err); !strings.Contains(remedy, "mgmt runs no directory of them") {
		t.Errorf("remedy of a directory as entry: %q", remedy)
	}
}
