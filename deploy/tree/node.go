package tree

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// ChunkSize is the size in bytes of every chunk but the last of a content or node that is longer than it.
const ChunkSize = 1 << 20

const (
	// MaxTree is the size in bytes of the largest git tree that is read.
	MaxTree = 16 << 20
	// MaxNode is more than the size in bytes of the node of any such tree: an entry of 28 bytes there has 134 here.
	MaxNode = 5 * MaxTree
)

// Entry is one entry of a directory.
type Entry struct {
	Mode   filemode.FileMode // Regular, Executable, Symlink, Dir, Submodule; no other
	Name   string            // raw bytes, one path element
	OID    OID
	Size   int64  // bytes of the content, or of a directory's node; 0 of a submodule, and where it is not known
	SHA256 SHA256 // of the same bytes; zero of a submodule, and where it is not known
}

// Node is one directory, entries in git's order.
type Node struct{ Entries []Entry }

// fixedLen is the length of an entry's text without oid, size and name: mode, sha256 and five separators.
const fixedLen = 6 + 2*32 + 5

// Text writes the node in the format of the package documentation. It does not check the entries: call Check first on
// a node that is not from ParseNode, or from entries of a git tree.
func (n *Node) Text() []byte {
	size := 0
	for i := range n.Entries {
		size += fixedLen + 2*n.Entries[i].OID.size() + 10 + len(n.Entries[i].Name)
	}
	b := make([]byte, 0, size)
	for i := range n.Entries {
		e := &n.Entries[i]
		b = strconv.AppendUint(b, uint64(e.Mode), 8)
		b = append(b, ' ')
		b = hex.AppendEncode(b, e.OID.Bytes())
		b = append(b, ' ')
		if e.Mode == filemode.Submodule {
			b = append(b, "- -"...)
		} else {
			b = strconv.AppendInt(b, e.Size, 10)
			b = append(b, ' ')
			b = hex.AppendEncode(b, e.SHA256[:])
		}
		b = append(b, '\t')
		b = append(b, e.Name...)
		b = append(b, 0)
	}
	return b
}

// minEntry is the length of the shortest entry's text, a submodule's with a name of one byte.
const minEntry = len("160000 ") + 2*20 + len(" - -\tn\x00")

// countEntries tells how many entries a node's text has at most, without reading them.
func countEntries(text []byte) int { return min(bytes.Count(text, []byte{0}), len(text)/minEntry) }

// EntryMemory is what an Entry takes in memory without its name, in bytes.
const EntryMemory = 104

// NodeMemory tells how much memory a Node takes at most that ParseNode makes of a text, in bytes, without reading it.
func NodeMemory(text []byte) int64 {
	n := countEntries(text)
	return int64(n)*EntryMemory + int64(len(text)-n*(minEntry-1))
}

// ParseNode reads what Text writes of a node that Check accepts, and refuses everything else, so that a node has one
// text only. Its errors name the entry.
func ParseNode(text []byte) (*Node, error) {
	rest := string(text)
	n := &Node{Entries: make([]Entry, 0, countEntries(text))}
	names := 0
	for rest != "" {
		line, after, ok := strings.Cut(rest, "\x00")
		if !ok {
			return nil, fmt.Errorf("parse node: entry %d: no NUL at its end", len(n.Entries)+1)
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("parse node: entry %d: %w", len(n.Entries)+1, err)
		}
		n.Entries = append(n.Entries, e)
		names += len(e.Name)
		rest = after
	}
	if err := n.Check(); err != nil {
		return nil, fmt.Errorf("parse node: %w", err)
	}
	n.packNames(names)
	return n, nil
}

// packNames puts the names, of a length together, into a string of their own: as parts of the text they would keep all
// of it in memory.
func (n *Node) packNames(length int) {
	var names strings.Builder
	names.Grow(length)
	for i := range n.Entries {
		names.WriteString(n.Entries[i].Name)
	}
	packed := names.String()
	for i := range n.Entries {
		e := &n.Entries[i]
		e.Name, packed = packed[:len(e.Name)], packed[len(e.Name):]
	}
}

// parseEntry reads one entry's text without the NUL. Mode and name are left to Check.
func parseEntry(line string) (Entry, error) {
	var e Entry
	head, name, ok := strings.Cut(line, "\t")
	mode, head, ok1 := strings.Cut(head, " ")
	oid, head, ok2 := strings.Cut(head, " ")
	size, sum, ok3 := strings.Cut(head, " ")
	if !ok || !ok1 || !ok2 || !ok3 {
		return e, errors.New("not of the form mode SP oid SP size SP sha256 TAB name")
	}
	e.Name = name
	if e.Mode, ok = parseMode(mode); !ok {
		return e, fmt.Errorf("mode %q is not one of %s", mode, knownModes)
	}
	var err error
	if e.OID, err = ParseOID(oid); err != nil {
		return e, err
	}
	if e.OID.IsZero() && len(oid) != len(e.OID.String()) {
		return e, fmt.Errorf("oid %q: the zero oid is written as 40 zeros", oid)
	}
	if e.Mode == filemode.Submodule {
		if size != "-" || sum != "-" {
			return e, errors.New("submodule: size and sha256 are not \"-\"")
		}
		return e, nil
	}
	if e.Size, ok = parseSize(size); !ok {
		return e, fmt.Errorf("size %q is not a decimal number below 2^63 without leading zeros", size)
	}
	if !decodeHex(e.SHA256[:], sum) {
		return e, fmt.Errorf("sha256 %q is not 64 lower-case hex digits", sum)
	}
	return e, nil
}

// parseSize is stricter than strconv: no sign, no leading zero.
func parseSize(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// Check refuses what a node must not hold: an unknown mode, a name that CheckName refuses, entries out of order or
// twice (also as a file and as a directory), a negative size, a submodule with size or sha256.
func (n *Node) Check() error {
	for i := range n.Entries {
		e := &n.Entries[i]
		if e.Size < 0 {
			return fmt.Errorf("entry %q: negative size", e.Name)
		}
		if e.Mode == filemode.Submodule && (e.Size != 0 || e.SHA256 != SHA256{}) {
			return fmt.Errorf("entry %q: a submodule with size or sha256", e.Name)
		}
	}
	return checkEntries(n.Entries)
}

// OID recomputes the oid of the git tree of a format from the entries; zero if they are of another format, so that it
// is no tree's. Without an entry a node may be of any format.
func (n *Node) OID(f Format) OID { return treeOID(f, n.Entries) }
