package mgmt_test

import (
	"testing"

	"refship/deploy/mgmt"
)

// TestModules: the directory that is set as module path is also where mgmt looks for modules.
func TestModules(t *testing.T) {
	leaves := map[string]leaf{
		"main.mcl": file("import"), "vendor/mods/x/main.mcl": file("x"), "vendor/mods/run": exe("#!"), "file": file(""),
		"link": link("main.mcl"), "sub": submodule(),
	}
	l, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang, Modules: "vendor/mods"})
	if err != nil {
		t.Fatal(err)
	}
	got := list(l.Root, "")
	for _, at := range []string{"modules/x/main.mcl", "vendor/mods/x/main.mcl"} {
		if got[at] != hexSum("x") {
			t.Errorf("%s is %q", at, got[at])
		}
	}
	if l.Files != 8 || got["modules"] != "dir" || got["modules/run"] != hexSum("#!") {
		t.Errorf("%d files: %v", l.Files, got)
	}
	if l, err = lay(leaves, mgmt.Options{Frontend: mgmt.Lang}); err != nil || list(l.Root, "")["modules"] != "" {
		t.Errorf("without a module path: %v", err)
	}
	for _, c := range []struct{ frontend, modules, path, what string }{
		{mgmt.Lang, "none", "none", "is not in the tree, and is set as the module path"},
		{mgmt.Lang, "vendor/none/x", "vendor/none/x", "is not in the tree"},
		{mgmt.Lang, "file", "file", "is no directory"},
		{mgmt.Lang, "link", "link", "is no directory"},
		{mgmt.Lang, "sub", "sub", "is no directory"},
		{mgmt.Lang, "../x", "", `the module path "../x" is not a path in the tree`},
		{mgmt.Empty, "vendor", "", "frontend empty has no modules"},
	} {
		_, err := lay(leaves, mgmt.Options{Frontend: c.frontend, Modules: c.modules})
		refused(t, err, c.path, c.what)
	}
	leaves["modules/y/main.mcl"] = file("y")
	_, err = lay(leaves, mgmt.Options{Frontend: mgmt.Lang, Modules: "vendor/mods"})
	refused(t, err, "modules", `is in the tree, and the module path is set to "vendor/mods"`)
	l, err = lay(leaves, mgmt.Options{Frontend: mgmt.Lang, Modules: "modules"})
	if err != nil || list(l.Root, "")["modules/y/main.mcl"] != hexSum("y") || l.Files != 7 {
		t.Errorf("its own name: %+v, %v", l, err)
	}
}
