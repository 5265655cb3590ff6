package mgmt_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/tree"
)

func TestCheckFrontend(t *testing.T) {
	for _, name := range []string{"auto", "lang", "yaml", "puppet", "empty"} {
		if err := mgmt.CheckFrontend(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, what := range map[string]string{
		"langpuppet": "no mgmt can deploy langpuppet", "": "is not known", "Lang": "is not known", "files": "is not known",
	} {
		refused(t, mgmt.CheckFrontend(name), "", what)
		_, err := lay(with(""), mgmt.Options{Frontend: name})
		refused(t, err, "", what)
	}
}

// TestPick: what auto makes of a tree.
func TestPick(t *testing.T) {
	for name, c := range map[string]struct {
		leaves map[string]leaf
		want   string // or what the refusal says
	}{
		"metadata":     {map[string]leaf{"metadata.yaml": file("main: x"), "x": file("")}, mgmt.Lang},
		"main":         {map[string]leaf{"main.mcl": file("")}, mgmt.Lang},
		"both of lang": {with(""), mgmt.Lang},
		"link":         {map[string]leaf{"main.mcl": link("sub/x"), "sub/x": file("")}, mgmt.Lang},
		"start":        {map[string]leaf{"start.yaml": file("")}, mgmt.YAML},
		"start and a dir": {map[string]leaf{"start.yaml": file(""), "main.mcl/x": file(""),
			"metadata.yaml": submodule()}, mgmt.YAML},
		"two": {map[string]leaf{"start.yaml": file(""), "main.mcl": file("")},
			"what two frontends start with"},
		"two with metadata": {map[string]leaf{"start.yaml": file(""), "metadata.yaml": file("")},
			"what two frontends start with"},
		"none": {map[string]leaf{"sub/main.mcl": file(""), "README": file("")},
			"nothing that mgmt starts with"},
		"nothing":             {nil, "nothing that mgmt starts with"},
		"main is a directory": {map[string]leaf{"main.mcl/x": file("")}, "nothing that mgmt starts with"},
	} {
		l, err := lay(c.leaves, mgmt.Options{Frontend: mgmt.Auto})
		if c.want == mgmt.Lang || c.want == mgmt.YAML {
			if err != nil || l.Frontend != c.want {
				t.Errorf("%s: got %+v, error %v; want %s", name, l, err, c.want)
			}
			continue
		}
		refused(t, err, "", c.want)
	}
	_, err := lay(map[string]leaf{"main.mcl": file("")}, mgmt.Options{Frontend: mgmt.Auto, Entry: "main.mcl"})
	refused(t, err, "", `the entry file "main.mcl" is set, and frontend auto looks for`)
}

func TestEntry(t *testing.T) {
	leaves := map[string]leaf{
		"sub/my.mcl": file("code\n"), "link": link("sub/my.mcl"), "bad": link("../x"), "module": submodule(),
		"run": exe("x"),
	}
	for _, c := range []struct{ frontend, entry, path, what string }{
		{mgmt.Lang, "", "main.mcl", "is not in the tree, and frontend lang starts with it"},
		{mgmt.Lang, "sub", "sub", "is a directory"},
		{mgmt.Lang, "nowhere/x", "nowhere/x", "is not in the tree"},
		{mgmt.Lang, "run/x", "run/x", "leads nowhere"},
		{mgmt.Lang, "module", "module", "submodule"},
		{mgmt.Lang, "bad", "bad", "leaves the tree"},
		{mgmt.Lang, "/run", "", "is not a path in the tree"},
		{mgmt.Lang, "./run", "", "is not a path in the tree"},
		{mgmt.Lang, "../run", "", "is not a path in the tree"},
		{mgmt.Lang, ".", "", "is not a path in the tree"},
		{mgmt.Lang, "run/", "", "is not a path in the tree"},
		{mgmt.YAML, "", "start.yaml", "is not in the tree, and frontend yaml starts with it"},
		{mgmt.YAML, "sub", "sub", "is a directory"},
		{mgmt.YAML, "bad", "bad", "leaves the tree"},
		{mgmt.Empty, "run", "", "frontend empty runs none"},
		{mgmt.Puppet, "", "site.pp", "is not in the tree, and frontend puppet starts with it"},
		{mgmt.Puppet, "sub", "sub", "is a directory, and frontend puppet"},
		{mgmt.Puppet, "bad", "bad", "leaves the tree"},
	} {
		_, err := lay(leaves, mgmt.Options{Frontend: c.frontend, Entry: c.entry})
		refused(t, err, c.path, c.what)
	}
	delete(leaves, "bad")
	for _, entry := range []string{"sub/my.mcl", "link", "run"} {
		l, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang, Entry: entry})
		if err != nil || l.Entry != entry || string(l.Made) != fmt.Sprintf("main: %q\n", entry) || l.Files != 4 {
			t.Errorf("%s: got %+v, error %v", entry, l, err)
		}
		l, err = lay(leaves, mgmt.Options{Frontend: mgmt.YAML, Entry: entry})
		if err != nil {
			t.Fatal(err)
		}
		want := &mgmt.File{Name: "start.yaml", Mode: 0o644, SHA256: sum("code\n"), Size: 5}
		if entry == "run" {
			want = &mgmt.File{Name: "start.yaml", Mode: 0o755, SHA256: sum("x"), Size: 1}
		}
		if diff := cmp.Diff([]*mgmt.File{want}, l.Root.Children); diff != "" || l.Entry != entry || l.Made != nil ||
			l.Files != 1 {
			t.Errorf("%s: got %+v\n%s", entry, l, diff)
		}
	}
}

// TestLang: kinds, modes and order of what is laid out.
func TestLang(t *testing.T) {
	l, err := lay(map[string]leaf{
		"main.mcl": file("m"), "b": file("b"), "a/x": exe("x"), "a.b": file("ab"), "module": submodule(),
		"void": emptyDirectory(),
		"l":    link("a/../a/x"), "a/l": link("../l"), "zero": file(""),
	}, mgmt.Options{Frontend: mgmt.Lang})
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, content string, mode fs.FileMode) *mgmt.File {
		return &mgmt.File{Name: name, Mode: mode, SHA256: sum(content), Size: int64(len(content))}
	}
	made := "main: \"main.mcl\"\n"
	want := &mgmt.File{Mode: fs.ModeDir, Children: []*mgmt.File{
		{Name: "a", Mode: fs.ModeDir | 0o755, Children: []*mgmt.File{f("l", "x", 0o755), f("x", "x", 0o755)}},
		f("a.b", "ab", 0o644), f("b", "b", 0o644), f("l", "x", 0o755), f("main.mcl", "m", 0o644),
		f("metadata.yaml", made, 0o644),
		{Name: "void", Mode: fs.ModeDir | 0o755}, f("zero", "", 0o644),
	}}
	if diff := cmp.Diff(want, l.Root); diff != "" {
		t.Error(diff)
	}
	if l.Files != 8 || string(l.Made) != made || l.Large != nil {
		t.Errorf("got %+v", l)
	}
}

func TestLinksRefused(t *testing.T) {
	circle := map[string]leaf{"main.mcl": file("m"), "dir/f": file("f"), "module": submodule()}
	for i := range 41 { // c0 → c1 → … → c40 → main.mcl
		circle[fmt.Sprintf("chain/c%d", i)] = link(fmt.Sprintf("c%d", i+1))
	}
	circle["chain/c41"] = file("end")
	for target, what := range map[string]string{
		"nothing":                  `is a link to "nothing", which leads nowhere: there is no "dir/nothing" in the tree`,
		"../../x":                  `is a link to "../../x", which leaves the tree`,
		"../..":                    "leaves the tree",
		"../../root/main.mcl":      "leaves the tree",
		"/etc/passwd":              `is a link to "/etc/passwd", which is absolute`,
		"..":                       "is a directory",
		".":                        "is a directory",
		"../dir":                   "is a directory",
		"../dir/":                  "is a directory",
		"f/":                       `leads nowhere: "dir/f" is a file`,
		"f/.":                      `leads nowhere: "dir/f" is a file`,
		"f/..":                     `leads nowhere: "dir/f" is a file`,
		"../module":                `leads into the submodule "module", which is not deployed`,
		"../module/x":              "submodule",
		"bad":                      "leads in a circle",
		"../chain/c0":              "leads in a circle, or through more than 40 links",
		".git/config":              "leads nowhere",
		strings.Repeat("./", 2048): "is a link with a target of 4096 bytes; 1 to 4095 are possible",
	} {
		leaves := maps.Clone(circle)
		leaves["dir/bad"] = link(target)
		if target != "../chain/c0" {
			delete(leaves, "chain/c0") // 42 links in all, but none with more than 40 behind it
			delete(leaves, "chain/c1")
		}
		_, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang})
		if target == "../chain/c0" {
			refused(t, err, "chain/c0", what)
			continue
		}
		refused(t, err, "dir/bad", what)
	}
	// 40 links are followed.
	delete(circle, "chain/c0")
	l, err := lay(circle, mgmt.Options{Frontend: mgmt.Lang})
	if err != nil || list(l.Root, "")["chain/c1"] != hexSum("end") {
		t.Errorf("a chain of 40: got %+v, error %v", l, err)
	}
	// An absolute link in the middle of a chain, and one to it.
	_, err = lay(map[string]leaf{"main.mcl": file("m"), "a": link("b"), "b": link("/x")},
		mgmt.Options{Frontend: mgmt.Lang})
	refused(t, err, "a", `is a link to "b", which leads to the link "b", which is absolute`)
	// The file that yaml starts with is all that counts there.
	l, err = lay(map[string]leaf{"start.yaml": link("s"), "s": file("s"), "bad": link("/etc")},
		mgmt.Options{Frontend: mgmt.YAML})
	if err != nil || l.Files != 1 {
		t.Errorf("got %+v, error %v", l, err)
	}
}

func TestLimits(t *testing.T) {
	const over = tree.ChunkSize + 1
	o := mgmt.Options{Frontend: mgmt.Lang}
	_, err := lay(map[string]leaf{"main.mcl": file("m"), "sub/huge": said(maxValue + 1)}, o)
	refused(t, err, "sub/huge",
		`"sub/huge" has 1.5 MiB (1568769 bytes), and mgmt reads a file as one value of etcd, of at most 1.5 MiB (1568768 bytes)`)
	_, err = lay(map[string]leaf{"main.mcl": said(maxValue + 1)}, o)
	refused(t, err, "main.mcl", "has 1.5 MiB")
	_, err = lay(map[string]leaf{"start.yaml": said(maxValue + 1)}, mgmt.Options{Frontend: mgmt.YAML})
	refused(t, err, "start.yaml", "has 1.5 MiB")
	// What is larger than a chunk is told, each content once; what yaml does not read does not count.
	leaves := map[string]leaf{
		"main.mcl": file("m"), "b/large": said(over), "c": said(over), "a/limit": said(maxValue),
		"chunk": said(tree.ChunkSize), "l": link("a/limit"),
	}
	l, err := lay(leaves, o)
	if err != nil {
		t.Fatal(err)
	}
	f := newForest()
	large := func(path string) *mgmt.Large {
		e := f.leaf("", leaves[path])
		return &mgmt.Large{Path: path, OID: e.OID, Size: e.Size, SHA256: e.SHA256}
	}
	if diff := cmp.Diff([]*mgmt.Large{large("a/limit"), large("b/large")}, l.Large,
		cmpopts.EquateComparable(tree.OID{})); diff != "" {
		t.Error(diff)
	}
	l, err = lay(leaves, mgmt.Options{Frontend: mgmt.YAML, Entry: "c"})
	if err != nil || len(l.Large) != 1 || l.Large[0].Path != "c" {
		t.Errorf("got %+v, error %v", l, err)
	}
	_, err = lay(map[string]leaf{"main.mcl": file(""), strings.Repeat("a/", 2048) + "b": file("")}, o)
	refused(t, err, strings.Repeat("a/", 2048)+"b", "is a path of 4097 bytes (limit 4095 on Linux)")
}

// TestSuperblockLimit finds how many files fit to one: one more is refused, with their number.
func TestSuperblockLimit(t *testing.T) {
	try := func(n int) (*mgmt.Layout, error) {
		leaves := map[string]leaf{}
		for i := range n - 1 {
			leaves[fmt.Sprintf("d%02d/file%06d", i%50, i)] = file("")
		}
		leaves["main.mcl"] = file("m") // and a metadata.yaml is made
		return lay(leaves, mgmt.Options{Frontend: mgmt.Lang, MaxValue: 200_000})
	}
	fits, not, most := 1, 4000, 0
	for not-fits > 1 {
		n := (fits + not) / 2
		l, err := try(n)
		if err != nil {
			refused(t, err, "", "files, and mgmt's list of them")
			not = n
			continue
		}
		if int64(len(l.Superblock)) > 200_000 || l.Files != n+1 {
			t.Fatalf("%d files: %d bytes, %d files", n, len(l.Superblock), l.Files)
		}
		if d, err := mgmt.DecodeSuperblock(l.Superblock); err != nil || len(list(d, "")) != n+1+50 {
			t.Fatalf("%d files: read back with error %v", n, err)
		}
		fits, most = n, len(l.Superblock)
	}
	if most < 199_900 { // one more is at most 100 bytes
		t.Errorf("%d files with %d bytes fit, and one more does not", fits, most)
	}
	_, err := try(not)
	refused(t, err, "", fmt.Sprintf("the tree has %d,%03d files, and mgmt's list of them has 195.4 KiB", (not+1)/1000,
		(not+1)%1000))
	_, err = try(10_000) // stops before the end
	refused(t, err, "", "the tree has 10,000 files, and mgmt's list of them has more than 195.3 KiB (200000 bytes)")
}

// TestTreeBomb: a few directories that hold each other many times over are refused at once.
func TestTreeBomb(t *testing.T) {
	for name, leaves := range map[string]map[string]leaf{
		"of files": {"f": file("x")}, "of links": {"f": link("g"), "g": file("")},
		"of nothing": {"d": emptyDirectory()},
	} {
		f := newForest()
		e := f.plant(leaves)
		for range 40 {
			n := &tree.Node{}
			for i := range 10 {
				e.Name = fmt.Sprint(i)
				n.Entries = append(n.Entries, e)
			}
			e = f.add(n)
		}
		main := f.leaf("main.mcl", file("m"))
		e.Name = "bomb"
		root := f.add(&tree.Node{Entries: []tree.Entry{e, main}})
		_, err := mgmt.Lay(context.Background(), f.source(root.OID),
			mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
		what := "the tree has more than a million million files"
		if name == "of nothing" {
			what = "the tree has 1 files"
		}
		refused(t, err, "", what)
	}
}

// TestSubmodules: hosts would miss what they hold; frontends that take single files do not care.
func TestSubmodules(t *testing.T) {
	leaves := map[string]leaf{"main.mcl": file(""), "start.yaml": file(""), "site.pp": file("")}
	for _, frontend := range []string{mgmt.Lang, mgmt.YAML, mgmt.Puppet, mgmt.Empty} {
		if l, err := lay(leaves, mgmt.Options{Frontend: frontend}); err != nil || l.CheckSubmodules() != nil {
			t.Errorf("%s without any: %v, %v", frontend, err, l.CheckSubmodules())
		}
	}
	leaves["modules/b"], leaves["a/lib\n"] = submodule(), submodule()
	for _, frontend := range []string{mgmt.YAML, mgmt.Puppet, mgmt.Empty} {
		if l, err := lay(leaves, mgmt.Options{Frontend: frontend}); err != nil || l.CheckSubmodules() != nil {
			t.Errorf("%s: %v, %v", frontend, err, l.CheckSubmodules())
		}
	}
	l, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, l.CheckSubmodules(), "", `2 submodules are in the tree: "a/lib\n", "modules/b"; the content is not`)
	for i := range 1100 {
		leaves[fmt.Sprint("m", i)] = submodule()
	}
	if l, err = lay(leaves, mgmt.Options{Frontend: mgmt.Lang}); err != nil || len(l.Submodules) != 1000 {
		t.Errorf("%d submodules are listed, error %v", len(l.Submodules), err)
	}
}

// TestSubmoduleBomb: what takes no room in the superblock counts too, each time that it is looked at.
func TestSubmoduleBomb(t *testing.T) {
	_, err := mgmt.Lay(context.Background(), submoduleBomb(), mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
	refused(t, err, "", "the tree has more than 2,000,000 entries")
}

// submoduleBomb is 300 times 300 times the same directory of 20,000 submodules.
func submoduleBomb() mgmt.Source {
	f, n := newForest(), &tree.Node{}
	for i := range 20_000 {
		n.Entries = append(n.Entries, f.leaf(fmt.Sprint("m", i), submodule()))
	}
	e := f.add(n)
	for range 2 {
		n := &tree.Node{}
		for i := range 300 {
			e.Name = fmt.Sprint("d", i)
			n.Entries = append(n.Entries, e)
		}
		e = f.add(n)
	}
	e.Name = "bomb"
	return f.source(f.add(&tree.Node{Entries: []tree.Entry{e, f.leaf("main.mcl", file("m"))}}).OID)
}

// TestLongLinks: links that lead deep down and up again, through each other, are refused by what all of them take.
func TestLongLinks(t *testing.T) {
	long := strings.Repeat("a/", 800) + strings.Repeat("../", 800)
	leaves := map[string]leaf{"main.mcl": file("m"), strings.Repeat("a/", 800) + "x": file(""), "l38": file("end")}
	for i := range 38 {
		leaves[fmt.Sprintf("l%02d", i)] = link(long + fmt.Sprintf("l%02d", i+1))
	}
	if l, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang}); err != nil ||
		list(l.Root, "")["l00"] != hexSum("end") {
		t.Errorf("one chain: got %+v, error %v", l, err) // 38 · 39 / 2 · 4003 bytes
	}
	for i := range 1000 {
		leaves[fmt.Sprintf("m%03d", i)] = link(long + "l00")
	}
	_, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang})
	// 34 of the others: (8 << 20 - 38·39/2·4003) / (39 · 4003) = 34.7
	refused(t, err, "m034",
		"which leads too far: its target, those of the links before it, and of those that they lead to have more than 8 MiB")
}

// TestCancelled: Lay ends with its context, before it starts, in a tree and in links.
func TestCancelled(t *testing.T) {
	gone := errors.New("the client is gone")
	f := newForest()
	linked := f.source(f.plant(map[string]leaf{"main.mcl": file("m"), "a": link("b"), "b": link("main.mcl")}).OID)
	for name, src := range map[string]mgmt.Source{"submodules": submoduleBomb(), "links": linked} {
		for at := range 4 { // in the call of that number; 0: before the first
			ctx, cancel := context.WithCancelCause(context.Background())
			calls := 0
			end := func() {
				if calls++; calls == at {
					cancel(gone)
				}
			}
			if at == 0 {
				cancel(gone)
			}
			_, err := mgmt.Lay(ctx, mgmt.Source{
				Root: src.Root,
				Node: func(oid tree.OID) (*tree.Node, error) {
					end()
					return src.Node(oid)
				},
				Content: func(e tree.Entry, path string) ([]byte, error) {
					end()
					return src.Content(e, path)
				},
			}, mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
			cancel(nil)
			if calls != at || err != gone { //nolint:errorlint // it is handed on as it is
				t.Errorf("%s: cancelled in call %d of %d: got error %v", name, at, calls, err)
			}
		}
	}
}

// TestSourceFails: what the source says is handed on, and is no refusal.
func TestSourceFails(t *testing.T) {
	f := newForest()
	root := f.plant(map[string]leaf{"metadata.yaml": file(""), "main.mcl": file(""), "sub/l": link("../main.mcl"),
		"sub/x/y": file("")})
	broken := errors.New("broken")
	for at := range 10 {
		calls := 0
		count := func() error {
			if calls++; calls == at+1 {
				return broken
			}
			return nil
		}
		good := f.source(root.OID)
		_, err := mgmt.Lay(context.Background(), mgmt.Source{
			Root: root.OID,
			Node: func(oid tree.OID) (*tree.Node, error) {
				n, err := good.Node(oid)
				return n, errors.Join(err, count())
			},
			Content: func(e tree.Entry, path string) ([]byte, error) {
				b, err := good.Content(e, path)
				return b, errors.Join(err, count())
			},
		}, mgmt.Options{Frontend: mgmt.Lang, MaxValue: maxValue})
		switch {
		case calls > at && (!errors.Is(err, broken) || fault.Is(err, fault.Refused)):
			t.Errorf("call %d fails: got error %v", at+1, err)
		case calls <= at:
			if err != nil || calls != 5 { // three directories, metadata.yaml, a link: each once
				t.Errorf("%d calls, error %v", calls, err)
			}
			return
		}
	}
	t.Error("more than 10 calls")
}

// TestContentOfAnotherLength is not taken for what it should be.
func TestContentOfAnotherLength(t *testing.T) {
	f := newForest()
	root := f.plant(with("main: main.mcl\n"))
	s := f.source(root.OID)
	s.Content = func(tree.Entry, string) ([]byte, error) { return []byte("main"), nil }
	if _, err := mgmt.Lay(context.Background(), s, mgmt.Options{Frontend: mgmt.Lang,
		MaxValue: maxValue}); err == nil || !strings.Contains(err.Error(), "says 15") {
		t.Errorf("got error %v", err)
	}
}

// TestEqualTrees: the same tree has the same superblock.
func TestEqualTrees(t *testing.T) {
	leaves := map[string]leaf{"main.mcl": file("m"), "a/b": file("b"), "c": exe("c"), "d": link("c")}
	first, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l, err := lay(leaves, mgmt.Options{Frontend: mgmt.Lang})
		if err != nil || !slices.Equal(l.Superblock, first.Superblock) {
			t.Fatalf("another superblock, error %v", err)
		}
	}
}

// TestReadAlongTheChain: a deploy of refship's after mgmt's, and one of mgmt's after that.
func TestReadAlongTheChain(t *testing.T) {
	f := newForest()
	l, err := mgmt.Lay(context.Background(), f.source(f.plant(map[string]leaf{"main.mcl": {mode: filemode.Regular,
		content: "m"}}).OID), mgmt.Options{Frontend: mgmt.Auto, MaxValue: maxValue})
	if err != nil {
		t.Fatal(err)
	}
	keys := f.keys(t, l) // deploy 3
	for key, value := range golden(t, "lang-dir") {
		keys[key] = value // deploy 1
	}
	d, err := mgmttest.Read(keys)
	if err != nil || d.ID != 3 || d.Entry != "main.mcl" {
		t.Errorf("got %+v, error %v", d, err)
	}
	d, err = mgmttest.ReadID(keys, 1)
	if err != nil || d.ID != 1 || d.Hash != "" {
		t.Errorf("got %+v, error %v", d, err)
	}
}
