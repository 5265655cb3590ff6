package tree_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"sort"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/tree"
)

var modes = []filemode.FileMode{
	filemode.Regular, filemode.Executable, filemode.Symlink, filemode.Dir, filemode.Submodule,
}

// sortAsGit orders entries by what git's documentation says, written down plainly.
func sortAsGit(entries []tree.Entry) {
	key := func(e tree.Entry) string {
		if e.Mode == filemode.Dir {
			return e.Name + "/"
		}
		return e.Name
	}
	sort.Slice(entries, func(i, j int) bool { return key(entries[i]) < key(entries[j]) })
}

// drawNode draws a valid node. Names are short and of few letters, so that the order's corners are met: those before
// and after the slash, prefixes of each other, bytes above 0x7f. Oids have digits in hex.
func drawNode(t *rapid.T, digits int) *tree.Node {
	name := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("ab-.0")), 1, 4, -1),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 6), func(b []byte) string { return string(b) }),
	).Filter(func(s string) bool { return tree.CheckName(s) == nil })
	n := &tree.Node{}
	for _, s := range rapid.SliceOfNDistinct(name, 0, 12, rapid.ID[string]).Draw(t, "names") {
		e := tree.Entry{Mode: rapid.SampledFrom(modes).Draw(t, "mode"), Name: s}
		e.OID = fixture.OID(rapid.StringMatching(fmt.Sprintf("[0-9a-f]{%d}", digits)).Draw(t, "oid"))
		if e.Mode != filemode.Submodule {
			e.Size = rapid.Int64Range(0, math.MaxInt64).Draw(t, "size")
			copy(e.SHA256[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "sha256"))
		}
		n.Entries = append(n.Entries, e)
	}
	sortAsGit(n.Entries)
	return n
}

func TestNodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNode(t, rapid.SampledFrom([]int{40, 64}).Draw(t, "digits"))
		if err := n.Check(); err != nil {
			t.Fatal(err)
		}
		text := n.Text()
		again, err := tree.ParseNode(text)
		if err != nil {
			t.Fatalf("parse %q: %v", text, err)
		}
		if d := cmp.Diff(n, again, cmpopts.EquateEmpty(), fixture.EqualOIDs); d != "" {
			t.Fatal(d)
		}
		if !bytes.Equal(text, again.Text()) {
			t.Fatalf("%q became %q", text, again.Text())
		}
	})
}

func TestNodeOrderMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNode(t, 40)
		if len(n.Entries) < 2 {
			return
		}
		i := rapid.IntRange(0, len(n.Entries)-2).Draw(t, "i")
		j := rapid.IntRange(i+1, len(n.Entries)-1).Draw(t, "j")
		n.Entries[i], n.Entries[j] = n.Entries[j], n.Entries[i]
		if _, err := tree.ParseNode(n.Text()); err == nil {
			t.Fatalf("accepted out of order: %q", n.Text())
		}
	})
}

func TestNodeOIDIsGits(t *testing.T) {
	g := fixture.NewRepository(t)
	types := map[filemode.FileMode]string{filemode.Dir: "tree", filemode.Submodule: "commit"}
	rapid.Check(t, func(rt *rapid.T) {
		n := drawNode(rt, 40)
		var in strings.Builder
		for _, i := range rapid.Permutation(n.Entries).Draw(rt, "order given to git") {
			typ := types[i.Mode]
			if typ == "" {
				typ = "blob"
			}
			fmt.Fprintf(&in, "%06o %s %s\t%s\x00", uint32(i.Mode), typ, i.OID, i.Name)
		}
		if want := fixture.OID(g.GitInput(in.String(), "mktree", "-z", "--missing")); n.OID(tree.FormatSHA1) != want {
			rt.Fatalf("oid %s, git mktree says %s", n.OID(tree.FormatSHA1), want)
		}
	})
}

const (
	oidA = "ce013625030ba8dba906f756967f9e9ca394464a"
	sumA = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
)

func entryText(mode, name string) string {
	if mode == "160000" {
		return mode + " " + oidA + " - -\t" + name + "\x00"
	}
	return mode + " " + oidA + " 6 " + sumA + "\t" + name + "\x00"
}

func TestParseNodeRefuses(t *testing.T) {
	good := entryText("100644", "a")
	for _, c := range []struct{ why, text, want string }{
		{"no NUL", good[:len(good)-1], "entry 1: no NUL"},
		{"trailing bytes", good + "x", "entry 2: no NUL"},
		{"leading NUL", "\x00" + good, "entry 1: not of the form"},
		{"NUL twice", good + "\x00", "entry 2: not of the form"},
		{"line feed between", good + "\n" + entryText("100644", "b"), "entry 2: mode"},
		{"no tab", strings.Replace(good, "\t", " ", 1), "not of the form"},
		{"two spaces", strings.Replace(good, " ", "  ", 1), "entry 1: oid"},
		{"space before tab", strings.Replace(good, "\t", " \t", 1), "sha256"},
		{"old mode", entryText("100664", "a"), `mode "100664"`},
		{"padded mode", entryText("040000", "a"), `mode "040000"`},
		{"no mode", entryText("", "a"), `mode ""`},
		{"mode of a fifo", entryText("10000", "a"), `mode "10000"`},
		{"upper-case oid", strings.Replace(good, "ce01", "CE01", 1), "oid"},
		{"upper-case sha256", strings.Replace(good, "be03", "BE03", 1), "sha256"},
		{"short oid", strings.Replace(good, "ce01", "ce0", 1), "oid"},
		{"oid of 60 digits", strings.Replace(good, oidA, oidA+oidA[:20], 1), "oid"},
		{"64 zeros", strings.Replace(good, oidA, strings.Repeat("0", 64), 1), "oid"},
		{"oids of two kinds", good + strings.Replace(entryText("100644", "b"), oidA, oidA+oidA[:24], 1),
			`entry "b": its oid`},
		{"long sha256", strings.Replace(good, "be03", "be030", 1), "sha256"},
		{"sha256 of a file left out", strings.Replace(good, sumA, "-", 1), "sha256"},
		{"padded size", strings.Replace(good, " 6 ", " 06 ", 1), "size"},
		{"two zeros", strings.Replace(good, " 6 ", " 00 ", 1), "size"},
		{"signed size", strings.Replace(good, " 6 ", " +6 ", 1), "size"},
		{"negative size", strings.Replace(good, " 6 ", " -6 ", 1), "size"},
		{"underscored size", strings.Replace(good, " 6 ", " 1_0 ", 1), "size"},
		{"no size", strings.Replace(good, " 6 ", "  ", 1), "size"},
		{"size of a submodule", strings.Replace(entryText("160000", "a"), "- -", "0 -", 1), "submodule"},
		{"sha256 of a submodule", strings.Replace(entryText("160000", "a"), "- -", "- "+sumA, 1), "submodule"},
		{"size of 2^63", strings.Replace(good, " 6 ", " 9223372036854775808 ", 1), "size"},
		{"empty name", entryText("100644", ""), "empty name"},
		{"dot", entryText("40000", "."), `entry "."`},
		{"dot dot", entryText("40000", ".."), `entry ".."`},
		{".git", entryText("40000", ".git"), `entry ".git"`},
		{".GiT", entryText("100644", ".GiT"), `entry ".GiT"`},
		{"git's short name", entryText("40000", "git~1"), `entry "git~1"`},
		{"slash", entryText("100644", "a/b"), "slash"},
		{"twice", good + good, `entry "a": twice`},
		{"twice, other mode", good + entryText("100755", "a"), `entry "a": twice`},
		{"file and directory", good + entryText("40000", "a"), `entry "a": twice`},
		{"file and directory, apart", good + entryText("100644", "a-") + entryText("100644", "a.") +
			entryText("40000", "a"),
			`entry "a": both as a file and as a directory`},
		{"submodule and directory, apart", entryText("160000", "a") + entryText("40000", "a!") +
			entryText("40000", "a"),
			`entry "a": both as a file and as a directory`},
		{"order", entryText("100644", "b") + good, `entry "a": out of order after "b"`},
		{"order of a directory", entryText("40000", "a") + entryText("100644", "a."),
			`entry "a.": out of order after "a"`},
	} {
		n, err := tree.ParseNode([]byte(c.text))
		if err == nil {
			t.Errorf("%s: accepted %q as %v", c.why, c.text, n)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q does not say %q", c.why, err, c.want)
		}
	}
	for _, text := range []string{
		"", good, strings.Replace(good, oidA, oidA+oidA[:24], 1),
		strings.Replace(good, oidA, strings.Repeat("0", 40), 1), strings.Replace(good, " 6 ", " 0 ", 1),
		strings.Replace(good, " 6 ", " 9223372036854775807 ", 1),
		entryText("100644", "a.") + entryText("40000", "a") + entryText("100644", "a0"),
		entryText("100644", "\n\t \xff"), entryText("160000", ".gitmodules"), entryText("100644", "..."),
	} {
		if _, err := tree.ParseNode([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	ok := tree.Entry{Mode: filemode.Regular, Name: "a"}
	for why, change := range map[string]func(*tree.Entry){
		"negative size":       func(e *tree.Entry) { e.Size = -1 },
		"submodule's size":    func(e *tree.Entry) { e.Mode, e.Size = filemode.Submodule, 1 },
		"submodule's sha256":  func(e *tree.Entry) { e.Mode, e.SHA256[31] = filemode.Submodule, 1 },
		"deprecated mode":     func(e *tree.Entry) { e.Mode = filemode.Deprecated },
		"no mode":             func(e *tree.Entry) { e.Mode = filemode.Empty },
		"name with NUL":       func(e *tree.Entry) { e.Name = "a\x00b" },
		"name with slash":     func(e *tree.Entry) { e.Name = "a/" },
		"name .git":           func(e *tree.Entry) { e.Name = ".GIT" },
		"name that is parent": func(e *tree.Entry) { e.Name = ".." },
	} {
		e := ok
		change(&e)
		if err := (&tree.Node{Entries: []tree.Entry{e}}).Check(); err == nil {
			t.Errorf("%s: accepted", why)
		}
	}
	if err := (&tree.Node{Entries: []tree.Entry{ok}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestParseSHA256(t *testing.T) {
	s, err := tree.ParseSHA256(sumA)
	if err != nil || s.String() != sumA || s != sha256.Sum256([]byte("hello\n")) {
		t.Errorf("%s, %v", s, err)
	}
	for _, bad := range []string{"", sumA[1:], sumA + "0", strings.ToUpper(sumA), sumA[:63] + "g"} {
		if _, err := tree.ParseSHA256(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

// TestEveryByte flips every bit of a node, and puts every byte that means something into every place: what still
// parses must be another node with its own text, and its git oid must differ exactly if what git hashes was touched.
func TestEveryByte(t *testing.T) {
	n := exampleNode()
	text, oid := n.Text(), n.OID(tree.FormatSHA1)
	// hashed tells for each byte whether the git oid covers it: mode, oid and name, not size and sha256.
	hashed := make([]bool, len(text))
	field := 0
	for i, c := range text {
		switch {
		case c == 0:
			field, hashed[i] = 0, true // without it two entries become one with a longer name
		case field < 4 && (c == ' ' || c == '\t'):
			field++
		default:
			hashed[i] = field != 2 && field != 3
		}
	}
	parsed := 0
	for i := range text {
		values := []byte("\x00\t\n\r -+./0123456789abcdefABF\x7f\xff")
		for bit := range 8 {
			values = append(values, text[i]^1<<bit)
		}
		for _, v := range values {
			if text[i] == v {
				continue
			}
			bad := bytes.Clone(text)
			bad[i] = v
			got, err := tree.ParseNode(bad)
			if err != nil {
				continue
			}
			parsed++
			if !bytes.Equal(got.Text(), bad) {
				t.Fatalf("byte %d = %#x: %q was read as %q", i, v, bad, got.Text())
			}
			if (got.OID(tree.FormatSHA1) != oid) != hashed[i] {
				t.Fatalf("byte %d = %#x: oid changed: %v, covered by it: %v", i, v, got.OID(tree.FormatSHA1) != oid, hashed[i])
			}
		}
		if got, err := tree.ParseNode(text[:i]); err == nil && got.OID(tree.FormatSHA1) == oid {
			t.Fatalf("cut at %d: accepted as the same tree", i)
		}
	}
	if parsed == 0 {
		t.Fatal("no change parsed: the test does not reach what it is for")
	}
}

func FuzzParseNode(f *testing.F) {
	f.Add(exampleNode().Text())
	f.Add([]byte(entryText("100644", "a") + entryText("40000", "a")))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := tree.ParseNode(text)
		if err != nil {
			return
		}
		if got := n.Text(); !bytes.Equal(got, text) {
			t.Fatalf("%q became %q", text, got)
		}
		if err := n.Check(); err != nil {
			t.Fatal(err)
		}
		sorted := append([]tree.Entry(nil), n.Entries...)
		sortAsGit(sorted)
		if d := cmp.Diff(sorted, n.Entries, cmpopts.EquateEmpty(), fixture.EqualOIDs); d != "" {
			t.Fatal(d)
		}
		names := map[string]bool{}
		for _, e := range n.Entries {
			if names[e.Name] {
				t.Fatalf("%q twice", e.Name)
			}
			names[e.Name] = true
		}
	})
}

func TestEmptyNode(t *testing.T) {
	n, err := tree.ParseNode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.OID(tree.FormatSHA1).String(); got != "4b825dc642cb6eb9a060e54bf8d69288fbee4904" || len(n.Text()) != 0 {
		t.Errorf("oid %s, text %q", got, n.Text())
	}
}

// largeNode is a directory of n files and directories.
func largeNode(n int) *tree.Node {
	node := &tree.Node{}
	for i := range n {
		e := tree.Entry{Mode: filemode.Regular, Name: fmt.Sprintf("file%d", i), OID: fixture.BlobOID(fmt.Sprint(i)),
			Size: int64(i)}
		if i%10 == 0 {
			e.Mode = filemode.Dir
		}
		node.Entries = append(node.Entries, e)
	}
	sortAsGit(node.Entries)
	return node
}

func BenchmarkNode(b *testing.B) {
	n := largeNode(20_000)
	text := n.Text()
	b.Run("Text", func(b *testing.B) {
		for b.Loop() {
			n.Text()
		}
	})
	b.Run("ParseNode", func(b *testing.B) {
		for b.Loop() {
			if _, err := tree.ParseNode(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("OID", func(b *testing.B) {
		for b.Loop() {
			n.OID(tree.FormatSHA1)
		}
	})
}
