package tree_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"refship/deploy/tree"
)

var formats = []tree.Format{tree.FormatSHA1, tree.FormatSHA256}

func TestFormats(t *testing.T) {
	for _, f := range formats {
		oid := tree.HashObject(f, "blob", []byte("x"))
		again, err := tree.ParseFormat(f.String())
		if err != nil || again != f || oid.Format() != f || len(oid.Bytes()) != f.Size() {
			t.Errorf("%s: %v, %s has %s", f, err, oid, oid.Format())
		}
		for _, sum := range []*tree.BlobHash{tree.HashBlob(f, 1), tree.NewContentHash(f, 1).BlobHash} {
			_, _ = sum.Write([]byte("x"))
			if sum.OID() != oid {
				t.Errorf("%s: got %s, want %s", f, sum.OID(), oid)
			}
		}
		// A node of the other format has no tree's oid: that of no entries is of either.
		n := &tree.Node{Entries: []tree.Entry{{Name: "a", Mode: 0o100644, OID: oid}}}
		if n.OID(f).Format() != f || !n.OID(1-f).IsZero() || (&tree.Node{}).OID(f).Format() != f {
			t.Errorf("%s: the node's oids are %s and %s", f, n.OID(f), n.OID(1-f))
		}
	}
	for _, name := range []string{"", "SHA256", "sha512"} {
		if _, err := tree.ParseFormat(name); err == nil {
			t.Errorf("%q is a format", name)
		}
	}
}

// TestSignedCommit: each format has a header of its own for the signature, and neither is signed.
func TestSignedCommit(t *testing.T) {
	const header, message = "tree x\nauthor a\n", "\nsubject\n"
	const one, other = "gpgsig one\n 1\n", "gpgsig-sha256 two\n 2\n"
	for _, f := range formats {
		want := map[tree.Format]string{tree.FormatSHA1: "one\n1\n", tree.FormatSHA256: "two\n2\n"}[f]
		signed, signature := tree.SignedCommit([]byte(header+one+other+message), f)
		if string(signed) != header+message || string(signature) != want {
			t.Errorf("%s: got %q, %q", f, signed, signature)
		}
	}
	if _, signature := tree.SignedCommit([]byte(header+one+message), tree.FormatSHA256); signature != nil {
		t.Errorf("got %q", signature)
	}
}

// FuzzParseCommit: what is taken for a commit begins as git's do, with the oids of its format.
func FuzzParseCommit(f *testing.F) {
	for _, format := range formats {
		oid := tree.HashObject(format, "tree", nil)
		f.Add([]byte(fmt.Sprintf("tree %s\nparent %s\nauthor A <a@x> 1 +0000\nencoding x\n\ntext\n", oid, oid)))
		f.Add([]byte(fmt.Sprintf("tree %s\nauthor A <a@x> 1 +0000\nparent %s\n\n", oid, oid)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range formats {
			c, err := tree.ParseCommit(data, format)
			if err != nil {
				if len(c.Parents) > 0 {
					t.Errorf("parents of what is no commit: %v", c.Parents)
				}
				continue
			}
			begin := "tree " + hexOf(c.Tree, format) + "\n"
			for _, parent := range c.Parents {
				begin += "parent " + hexOf(parent, format) + "\n"
			}
			if !strings.HasPrefix(string(data)+"\n", begin) || !bytes.HasSuffix(data, []byte(c.Message)) {
				t.Errorf("got %+v of %q", c, data)
			}
			if at, err := tree.OfCommit(data, format); err != nil || at != c.Tree {
				t.Errorf("tree is %s, and of the commit %s, %v", c.Tree, at, err)
			}
			_ = tree.Person(c.Author) // neither may panic
			_, _ = tree.SignedCommit(data, format)
		}
	})
}

// hexOf is an oid in a format's length, in which zeros are many.
func hexOf(oid tree.OID, f tree.Format) string {
	if oid.IsZero() {
		return strings.Repeat("0", 2*f.Size())
	}
	return oid.String()
}

// FuzzOfTag: what a tag names is what its first line has.
func FuzzOfTag(f *testing.F) {
	for _, format := range formats {
		f.Add([]byte("object " + tree.HashObject(format, "commit", nil).String() + "\ntype commit\ntag v1\n\ntext\n"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range formats {
			oid, err := tree.OfTag(data, format)
			if err == nil && !strings.HasPrefix(string(data)+"\n", "object "+hexOf(oid, format)+"\n") {
				t.Errorf("got %s of %q", oid, data)
			}
			signed, signature := tree.SignedTag(data)
			if !bytes.Equal(append(bytes.Clone(signed), signature...), data) {
				t.Errorf("%q is cut into %q and %q", data, signed, signature)
			}
		}
	})
}

// FuzzParseTree: what is taken for a tree is written again byte by byte, if no oid in it is zero.
func FuzzParseTree(f *testing.F) {
	for _, format := range formats {
		oid := string(tree.HashObject(format, "blob", nil).Bytes())
		f.Add([]byte("100644 a\x00" + oid + "40000 b\x00" + oid + "160000 c\x00" + oid))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, format := range formats {
			entries, err := tree.ParseTree(data, format)
			if err != nil {
				continue
			}
			n, zero := &tree.Node{Entries: entries}, false
			for _, e := range entries {
				zero = zero || e.OID.IsZero()
			}
			if want := tree.HashObject(format, "tree", data); !zero && n.OID(format) != want {
				t.Errorf("%q: its oid is %s, want %s", data, n.OID(format), want)
			}
			if err := n.Check(); err != nil {
				t.Errorf("%q: %v", data, err)
			}
		}
	})
}
