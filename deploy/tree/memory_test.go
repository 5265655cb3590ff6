package tree_test

import (
	"bytes"
	"fmt"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/tree"
)

// A text that looks like a million entries, and is none, takes no more than its length suggests.
func TestParsingNonsenseTakesLittle(t *testing.T) {
	const size = 1 << 20
	for name, text := range map[string][]byte{
		"NULs": make([]byte, size), "digits": bytes.Repeat([]byte("1"), size), "lines": bytes.Repeat([]byte("x\x00"), size/2),
	} {
		got := fixture.Allocated(func() {
			if _, err := tree.ParseNode(text); err == nil {
				t.Errorf("%s: a node", name)
			}
		})
		if got > 4*size {
			t.Errorf("%s: %d bytes were allocated for a node of %d", name, got, size)
		}
		got = fixture.Allocated(func() {
			if _, err := tree.ParseTree(text, tree.FormatSHA1); err == nil {
				t.Errorf("%s: a tree", name)
			}
		})
		if got > 8*size { // an entry is five times as long as in a raw tree
			t.Errorf("%s: %d bytes were allocated for a tree of %d", name, got, size)
		}
	}
}

// NodeMemory is never less than what a node holds.
func TestNodeMemory(t *testing.T) {
	if got := unsafe.Sizeof(tree.Entry{}); got != tree.EntryMemory {
		t.Errorf("an entry has %d bytes", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		n := drawNode(t, 40)
		held := len(n.Entries) * tree.EntryMemory
		for _, e := range n.Entries {
			held += len(e.Name)
		}
		text := n.Text()
		if got := tree.NodeMemory(text); got < int64(held) || got > int64(held+100*len(n.Entries)) {
			t.Fatalf("%d bytes for what holds %d", got, held)
		}
		if len(text) > tree.MaxNode/tree.MaxTree*len(rawTree(n)) {
			t.Fatalf("%d bytes of text", len(text))
		}
	})
}

// rawTree writes a node as git stores the tree.
func rawTree(n *tree.Node) (raw []byte) {
	for _, e := range n.Entries {
		raw = append(raw, fmt.Sprintf("%o %s\x00", uint32(e.Mode), e.Name)...)
		raw = append(raw, e.OID.Bytes()...)
	}
	return raw
}
