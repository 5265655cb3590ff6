package mgmt_test

import (
	"io/fs"
	"testing"

	"refship/deploy/mgmt"
)

// What mgmt does the same with: permissions and order, and where the superblock is, mean nothing to it.
func TestSameToMgmt(t *testing.T) {
	file := func(name string, mode fs.FileMode, sum byte) *mgmt.File {
		f := &mgmt.File{Name: name, Mode: mode}
		f.SHA256[0] = sum
		return f
	}
	dir := func(children ...*mgmt.File) *mgmt.File { return &mgmt.File{Mode: fs.ModeDir, Children: children} }
	one := dir(file("a", 0o644, 1), file("b", 0o755, 2))
	for name, c := range map[string]struct {
		other *mgmt.File
		same  bool
	}{
		"itself":      {one, true},
		"order":       {dir(file("b", 0o755, 2), file("a", 0o644, 1)), true},
		"permissions": {dir(file("a", 0o666, 1), file("b", 0o600, 2)), true},
		"less":        {dir(file("a", 0o644, 1)), false},
		"content":     {dir(file("a", 0o644, 1), file("b", 0o755, 3)), false},
		"name":        {dir(file("a", 0o644, 1), file("c", 0o755, 2)), false},
		"a directory": {dir(file("a", 0o644, 1), &mgmt.File{Name: "b", Mode: fs.ModeDir}), false},
		"more":        {dir(file("a", 0o644, 1), file("b", 0o755, 2), &mgmt.File{Name: "c", Mode: fs.ModeDir}), false},
	} {
		if mgmt.SameFiles(one, c.other) != c.same || mgmt.SameFiles(c.other, one) != c.same {
			t.Errorf("%s: want %t", name, c.same)
		}
	}
	p := mgmt.Payload{Frontend: mgmt.Puppet, Mode: "file", InputURI: "x", Settings: mgmt.Settings{Sema: -1}}
	for name, c := range map[string]struct {
		change func(*mgmt.Payload)
		same   bool
	}{
		"input":    {func(p *mgmt.Payload) { p.InputURI = "y" }, true},
		"no sema":  {func(p *mgmt.Payload) { p.Sema = 0 }, true},
		"sema":     {func(p *mgmt.Payload) { p.Sema = 1 }, false},
		"noop":     {func(p *mgmt.Payload) { p.Noop = true }, false},
		"solver":   {func(p *mgmt.Payload) { p.UnifyName = "x" }, false},
		"strategy": {func(p *mgmt.Payload) { p.Strategy = map[string]string{"x": "y"} }, false},
		"mode":     {func(p *mgmt.Payload) { p.Mode = "agent" }, false},
		"frontend": {func(p *mgmt.Payload) { p.Frontend = mgmt.Lang }, false},
	} {
		other := p
		if c.change(&other); p.Same(&other) != c.same {
			t.Errorf("%s: want %t", name, c.same)
		}
	}
}

// A superblock that was read back is the one that was written, and no other.
func TestSame(t *testing.T) {
	layout := func(name string, mode fs.FileMode, sum byte) *mgmt.File {
		f := &mgmt.File{Name: name, Mode: mode, Size: 3}
		f.SHA256[0] = sum
		return &mgmt.File{Mode: fs.ModeDir, Children: []*mgmt.File{{Name: "d", Mode: fs.ModeDir | 0o755,
			Children: []*mgmt.File{f}}}}
	}
	made := layout("a", 0o644, 1)
	value, err := mgmt.EncodeSuperblock(made)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := mgmt.DecodeSuperblock(value)
	if err != nil || !mgmt.Same(stored, made) {
		t.Errorf("read back it is another; error %v", err)
	}
	for _, other := range []*mgmt.File{layout("b", 0o644, 1), layout("a", 0o755, 1), layout("a", 0o644, 2),
		{Mode: fs.ModeDir}} {
		if mgmt.Same(stored, other) {
			t.Errorf("%+v is the same", other.Children)
		}
	}
}
