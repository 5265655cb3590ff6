package mgmt_test

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"refship/deploy/mgmt"
	"refship/deploy/mgmt/mgmttest"
	"refship/deploy/tree"
)

// drawDir draws a directory whose children are sorted, as they are decoded.
func drawDir(t *rapid.T, name string, depth int) *mgmt.File {
	f := &mgmt.File{Name: name, Mode: fs.ModeDir | 0o755}
	if depth == 0 {
		f.Mode = fs.ModeDir
	}
	names := rapid.SliceOfNDistinct(rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("ab-.0")), 1, 4, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 6), func(b []byte) string { return string(b) }),
	).Filter(func(s string) bool { return tree.CheckName(s) == nil }), 0, 5, rapid.ID[string]).Draw(t, "names")
	for _, name := range names {
		if depth < 4 && rapid.Bool().Draw(t, "dir") {
			f.Children = append(f.Children, drawDir(t, name, depth+1))
			continue
		}
		f.Children = append(f.Children, &mgmt.File{
			Name: name, Mode: rapid.SampledFrom([]fs.FileMode{0o644, 0o755}).Draw(t, "mode"), SHA256: sum(name),
		})
	}
	return f
}

// same tells whether our reader and the strict one, with types of its own, agree on a superblock.
func same(ours *mgmt.File, theirs *mgmttest.File) string {
	hash := ours.SHA256.String()
	if ours.Mode.IsDir() {
		hash = ""
	}
	if ours.Name != theirs.Path || ours.Mode != theirs.Mode || hash != theirs.Hash ||
		len(ours.Children) != len(theirs.Children) {
		return fmt.Sprintf("%+v is %+v", ours, theirs)
	}
	for i := range ours.Children {
		if differ := same(ours.Children[i], theirs.Children[i]); differ != "" {
			return differ
		}
	}
	return ""
}

func sorted(f *mgmt.File) *mgmt.File {
	c := *f
	c.Children = nil
	for _, below := range f.Children {
		c.Children = append(c.Children, sorted(below))
	}
	for i := range c.Children { // plainly
		for j := range i {
			if c.Children[i].Name < c.Children[j].Name {
				c.Children[i], c.Children[j] = c.Children[j], c.Children[i]
			}
		}
	}
	return &c
}

func TestSuperblock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := drawDir(t, "", 0)
		value, err := mgmt.EncodeSuperblock(root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := mgmt.DecodeSuperblock(value)
		if diff := cmp.Diff(sorted(root), got); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
		theirs, err := mgmttest.ReadSuperblock(value)
		if err != nil {
			t.Fatal(err)
		}
		if differ := same(got, theirs); differ != "" {
			t.Fatal(differ)
		}
		again, err := mgmt.EncodeSuperblock(got)
		if err != nil || !bytes.Equal(again, value) {
			t.Fatalf("encoded again it differs, error %v", err)
		}
	})
}

func TestSuperblockEncodeRefuses(t *testing.T) {
	dir := func(children ...*mgmt.File) *mgmt.File { return &mgmt.File{Mode: fs.ModeDir, Children: children} }
	for name, c := range map[string]struct {
		root *mgmt.File
		what string
	}{
		"no root":        {nil, "no root"},
		"a file":         {&mgmt.File{Mode: 0o644}, "the root is"},
		"a named root":   {&mgmt.File{Name: "x", Mode: fs.ModeDir}, "the root is"},
		"a slash":        {dir(&mgmt.File{Name: "a/b", Mode: 0o644}), "with a slash"},
		"a slash behind": {dir(&mgmt.File{Name: "a/", Mode: fs.ModeDir}), "with a slash"},
		"no name":        {dir(&mgmt.File{Mode: 0o644}), "empty name"},
		"above":          {dir(&mgmt.File{Name: "..", Mode: fs.ModeDir}), "relative to itself"},
		"git's":          {dir(&mgmt.File{Name: ".git", Mode: fs.ModeDir}), "git's own name"},
		"twice": {dir(&mgmt.File{Name: "a", Mode: 0o644}, &mgmt.File{Name: "b", Mode: 0o644},
			&mgmt.File{Name: "a", Mode: fs.ModeDir}), `"a": twice`},
		"a dir with a hash": {dir(&mgmt.File{Name: "a", Mode: fs.ModeDir, SHA256: sum("")}), "directory with a sha256"},
		"below a file": {dir(&mgmt.File{Name: "a", Mode: 0o644, Children: []*mgmt.File{{Name: "b"}}}),
			"file with children"},
		"too deep": {deep(2049), "in each other"},
	} {
		if _, err := mgmt.EncodeSuperblock(c.root); err == nil || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s: got error %v, want %q", name, err, c.what)
		}
	}
}

// deep is a root with n directories in each other.
func deep(n int) *mgmt.File {
	f := &mgmt.File{Name: "d", Mode: fs.ModeDir}
	for range n - 1 {
		f = &mgmt.File{Name: "d", Mode: fs.ModeDir, Children: []*mgmt.File{f}}
	}
	return &mgmt.File{Mode: fs.ModeDir, Children: []*mgmt.File{f}}
}

// Types of a foreign writer's, with one more field than are read.
type (
	block struct {
		DataPrefix, Hash string
		Tree             *entry
	}
	entry struct {
		Path     string
		Owner    string
		Mode     fs.FileMode
		ModTime  time.Time
		Children []*entry
		Hash     string
	}
)

func foreign(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSuperblockDecode(t *testing.T) {
	root := func(children ...*entry) *entry { return &entry{Mode: fs.ModeDir, Children: children} }
	in := func(e *entry) block { return block{"/storage", "sha256", e} }
	for name, c := range map[string]struct {
		value []byte
		what  string // "": it is read
	}{
		"good": {foreign(t, in(root(&entry{Path: "b", Owner: "me", ModTime: time.Unix(1, 1),
			Hash: hexSum("")}, &entry{Path: "a", Hash: hexSum("")}))), ""},
		"as deep as may be": {foreign(t, in(deepEntry(2048))), ""},
		"git's name":        {foreign(t, in(root(&entry{Path: ".git", Mode: fs.ModeDir}))), ""},
		"nothing":           {nil, "not gob"},
		"not gob":           {[]byte("hello, this is a text"), "gob"},
		"more behind":       {append(foreign(t, in(root())), 0), "after its end"},
		"another prefix":    {foreign(t, block{"/_etcdfs/data", "sha256", root()}), "/_etcdfs/data"},
		"another hash":      {foreign(t, block{"/storage", "sha512", root()}), "sha512"},
		"no root":           {foreign(t, in(nil)), "the root is"},
		"a root's name":     {foreign(t, in(&entry{Path: "/", Mode: fs.ModeDir})), "the root is"},
		"a slash":           {foreign(t, in(root(&entry{Path: "a/", Mode: fs.ModeDir}))), "with a slash"},
		"above":             {foreign(t, in(root(&entry{Path: "..", Mode: fs.ModeDir}))), "relative to itself"},
		"twice": {foreign(t, in(root(&entry{Path: "a", Hash: hexSum("")},
			&entry{Path: "b", Hash: hexSum("")}, &entry{Path: "a", Mode: fs.ModeDir}))), `"a": twice`},
		"no hash": {foreign(t, in(root(&entry{Path: "a"}))), "not 64 lower-case hex digits"},
		"upper case": {foreign(t, in(root(&entry{Path: "a", Hash: strings.ToUpper(hexSum(""))}))),
			"not 64 lower-case hex digits"},
		"a dir's hash": {foreign(t, in(root(&entry{Path: "a", Mode: fs.ModeDir, Hash: hexSum("")}))),
			"directory with a hash"},
		"below a file": {foreign(t, in(root(&entry{Path: "a", Hash: hexSum(""),
			Children: []*entry{{Path: "b"}}}))), "file with children"},
		"too deep":     {foreign(t, in(deepEntry(2049))), "in each other"},
		"far too deep": {foreign(t, in(deepEntry(100_000))), "in each other"},
		"too large":    {foreign(t, in(root(&entry{Path: strings.Repeat("x", 2<<20)}))), "(limit "},
		"a map":        {foreign(t, map[string]string{"a": "b"}), "gob"},
		"an interface": {foreign(t, struct{ Tree any }{"x"}), "no superblock has"},
		"a list":       {foreign(t, []string{"a"}), "not gob"},
	} {
		f, err := mgmt.DecodeSuperblock(c.value)
		switch {
		case c.what == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.what != "" && (err == nil || !strings.Contains(err.Error(), c.what)):
			t.Errorf("%s: got %+v, error %v; want %q", name, f, err, c.what)
		}
	}
}

func deepEntry(n int) *entry {
	f := &entry{Path: "d", Mode: fs.ModeDir}
	for range n - 1 {
		f = &entry{Path: "d", Mode: fs.ModeDir, Children: []*entry{f}}
	}
	return &entry{Mode: fs.ModeDir, Children: []*entry{f}}
}

// TestSuperblockEveryByte: whatever becomes of a byte, there is an error, or another value, or what no reader looks at
// was hit: names of types, times. It never panics.
func TestSuperblockEveryByte(t *testing.T) {
	_, value := one(t, golden(t, "lang-dir"), "/fs/deploy/", "")
	want, err := mgmt.DecodeSuperblock(value)
	if err != nil {
		t.Fatal(err)
	}
	refused, others, unseen := 0, 0, 0
	for i := range value {
		for _, b := range []byte{0, value[i] ^ 1, value[i] ^ 0x80, 0xff, value[i] + 1} {
			if b == value[i] {
				continue
			}
			damaged := bytes.Clone(value)
			damaged[i] = b
			got, err := mgmt.DecodeSuperblock(damaged)
			switch {
			case err != nil:
				refused++
			case !reflect.DeepEqual(want, got):
				others++
			default:
				unseen++
			}
		}
		if _, err := mgmt.DecodeSuperblock(value[:i]); err == nil {
			t.Fatalf("cut off at %d it is read", i)
		}
	}
	t.Logf("%d refused, %d other values, %d unseen", refused, others, unseen)
	if refused < len(value) || others == 0 || unseen > refused/4 {
		t.Errorf("%d refused, %d other values, %d unseen", refused, others, unseen)
	}
}

func FuzzDecodeSuperblock(f *testing.F) {
	for _, g := range goldens {
		if !g.noFiles() {
			_, value := one(f, golden(f, g.name), "/fs/deploy/", "")
			f.Add(value)
		}
	}
	f.Add(foreign(f, block{"/storage", "sha256", deepEntry(3)}))
	f.Fuzz(func(t *testing.T, value []byte) {
		root, err := mgmt.DecodeSuperblock(value)
		if err != nil {
			return
		}
		theirs, err := mgmttest.ReadSuperblock(value)
		if err != nil {
			t.Fatalf("we read %+v, and the strict reader does not: %v", root, err)
		}
		if differ := same(root, theirs); differ != "" {
			t.Fatal(differ)
		}
		again, err := mgmt.EncodeSuperblock(root)
		if err != nil {
			if !strings.Contains(err.Error(), "git's own name") {
				t.Fatal(err)
			}
			return
		}
		got, err := mgmt.DecodeSuperblock(again)
		if diff := cmp.Diff(sorted(root), got); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestSuperblockPath(t *testing.T) {
	path := mgmt.SuperblockPath(3, uuid)
	if path != "/fs/deploy/3-"+uuid || mgmt.InputURI(path) != "etcdfs:///fs/deploy/3-"+uuid {
		t.Errorf("%s, %s", path, mgmt.InputURI(path))
	}
}
