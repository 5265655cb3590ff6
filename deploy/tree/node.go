package tree

import (
	"crypto"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sort"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

// ChunkSize is the size in bytes of every chunk but the last of a content or node that is longer than it.
const ChunkSize = 1 << 20

// SHA256 is the sha256 of a content or of a node's text.
type SHA256 [32]byte

// String gives 64 lower-case hex digits.
func (s SHA256) String() string { return hex.EncodeToString(s[:]) }

// ParseSHA256 reads 64 lower-case hex digits.
func ParseSHA256(digits string) (SHA256, error) {
	var s SHA256
	if !decodeHex(s[:], digits) {
		return SHA256{}, fmt.Errorf("parse sha256 %q: not 64 lower-case hex digits", digits)
	}
	return s, nil
}

// HashBlob gives the hash whose sum, once exactly size bytes of content were written to it, is the blob's oid:
// git's header is in it already. It is the plain SHA-1, without git's collision detection, which
// `git receive-pack` ran over everything it let in: it finds damage, and the sha256 beside it proves the bytes.
func HashBlob(size int64) hash.Hash {
	h := sha1.New()
	h.Write(objectHeader("blob", size))
	return h
}

// newHash is the SHA-1 of an object with git's collision detection, for what git has not let in.
func newHash(typ string, size int64) hash.Hash {
	h := githash.New(crypto.SHA1)
	h.Write(objectHeader(typ, size))
	return h
}

// hashObject is the oid of an object.
func hashObject(typ string, data []byte) OID {
	h := newHash(typ, int64(len(data)))
	h.Write(data)
	return sumOf(h)
}

// sumOf is the oid of what a hash was given.
func sumOf(h hash.Hash) OID { return FromSHA1([20]byte(h.Sum(nil))) }

// objectHeader is what git puts before an object's bytes when it hashes them: type SP size NUL.
func objectHeader(typ string, size int64) []byte {
	b := make([]byte, 0, 32)
	b = append(b, typ...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, size, 10)
	return append(b, 0)
}

// Entry is one entry of a directory's node.
type Entry struct {
	Mode   filemode.FileMode // Regular, Executable, Symlink, Dir, Submodule; no other
	Name   string            // raw bytes, one path element
	OID    OID
	Size   int64  // bytes of the content; of the node's text for a directory; 0 for a submodule, and where it is not known
	SHA256 SHA256 // of the same bytes; zero for a submodule, and where it is not known
}

// Node is one directory, entries in git's order.
type Node struct{ Entries []Entry }

// fixedLen is the length of an entry's text without oid, size and name: mode, sha256 and five separators.
const fixedLen = 6 + 2*32 + 5

// Text writes the node in the format of the package documentation. It does not check the entries: call Check first on
// a node that was made from something else than Repository.Tree or ParseNode.
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

// ParseNode reads what Text writes of a node that Check accepts, and refuses everything else, so that a node has one
// text only. Its errors name the entry.
func ParseNode(text []byte) (*Node, error) {
	rest := string(text)
	n := &Node{Entries: make([]Entry, 0, strings.Count(rest, "\x00"))}
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
		rest = after
	}
	if err := n.Check(); err != nil {
		return nil, fmt.Errorf("parse node: %w", err)
	}
	return n, nil
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
		return e, fmt.Errorf("mode %q: not one of 100644 100755 120000 40000 160000", mode)
	}
	var err error
	if e.OID, err = ParseOID(oid); err != nil {
		return e, err
	}
	if e.OID.IsZero() && len(oid) != len(e.OID.String()) {
		return e, fmt.Errorf("oid %q: zeros are written as 40", oid)
	}
	if e.Mode == filemode.Submodule {
		if size != "-" || sum != "-" {
			return e, errors.New("submodule: size and sha256 are not \"-\"")
		}
		return e, nil
	}
	if e.Size, ok = parseSize(size); !ok {
		return e, fmt.Errorf("size %q: not a decimal number below 2^63 without leading zeros", size)
	}
	if !decodeHex(e.SHA256[:], sum) {
		return e, fmt.Errorf("sha256 %q: not 64 lower-case hex digits", sum)
	}
	return e, nil
}

func parseMode(s string) (filemode.FileMode, bool) {
	switch s {
	case "100644":
		return filemode.Regular, true
	case "100755":
		return filemode.Executable, true
	case "120000":
		return filemode.Symlink, true
	case "40000":
		return filemode.Dir, true
	case "160000":
		return filemode.Submodule, true
	}
	return filemode.Empty, false
}

func knownMode(m filemode.FileMode) bool {
	switch m {
	case filemode.Regular, filemode.Executable, filemode.Symlink, filemode.Dir, filemode.Submodule:
		return true
	}
	return false
}

// parseSize is stricter than strconv: no sign, no leading zero.
func parseSize(s string) (int64, bool) {
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// decodeHex is stricter than encoding/hex: exactly len(dst) bytes, lower case only.
func decodeHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := hexDigit(s[2*i]), hexDigit(s[2*i+1])
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
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

// checkEntries holds entries to the rules that git's own trees and our nodes share.
func checkEntries(entries []Entry) error {
	for i := range entries {
		e := &entries[i]
		if !knownMode(e.Mode) {
			return fmt.Errorf("entry %q: unknown mode %o", e.Name, uint32(e.Mode))
		}
		if err := CheckName(e.Name); err != nil {
			return fmt.Errorf("entry %q: %w", e.Name, err)
		}
		if i == 0 {
			continue
		}
		switch before := &entries[i-1]; {
		case e.OID.size() != before.OID.size():
			return fmt.Errorf("entry %q: its oid is of another kind than that of %q", e.Name, before.Name)
		case before.Name == e.Name:
			return fmt.Errorf("entry %q: twice", e.Name)
		case compareEntries(before.Name, before.Mode, e.Name, e.Mode) >= 0:
			return fmt.Errorf("entry %q: out of order after %q", e.Name, before.Name)
		}
	}
	// Only now is the order known to be good, which the search needs. "a" as a file and "a" as a directory are not
	// neighbours: "a-b" and "a.b" stand between them.
	for i := range entries {
		name := entries[i].Name
		if entries[i].Mode != filemode.Dir {
			continue
		}
		j := sort.Search(i, func(j int) bool {
			return compareEntries(entries[j].Name, entries[j].Mode, name, filemode.Regular) >= 0
		})
		if j < i && entries[j].Name == name {
			return fmt.Errorf("entry %q: both as a file and as a directory", name)
		}
	}
	return nil
}

// compareEntries is git's order of tree entries (base_name_compare in git's read-cache.c): bytewise, a directory as if
// its name ended with a slash.
func compareEntries(a string, aMode filemode.FileMode, b string, bMode filemode.FileMode) int {
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	return int(byteAfter(a, n, aMode == filemode.Dir)) - int(byteAfter(b, n, bMode == filemode.Dir))
}

// byteAfter is the byte at n, where a name ends with NUL or, for a directory, with a slash.
func byteAfter(name string, n int, dir bool) byte {
	switch {
	case n < len(name):
		return name[n]
	case dir:
		return '/'
	}
	return 0
}

// OID recomputes the git tree's oid from the entries.
func (n *Node) OID() OID { return treeOID(n.Entries) }

// treeOID is the oid of a git tree with these entries.
func treeOID(entries []Entry) OID { return hashObject("tree", rawTree(entries)) }

// rawTree writes a git tree: of each entry mode SP name NUL oid, the mode in octal without leading zeros, the oid as
// bytes.
func rawTree(entries []Entry) []byte {
	size := 0
	for i := range entries {
		size += len("100644 ") + len(entries[i].Name) + 1 + entries[i].OID.size()
	}
	b := make([]byte, 0, size)
	for i := range entries {
		e := &entries[i]
		b = strconv.AppendUint(b, uint64(e.Mode), 8)
		b = append(b, ' ')
		b = append(b, e.Name...)
		b = append(b, 0)
		b = append(b, e.OID.Bytes()...)
	}
	return b
}

// parseTree reads what rawTree writes of entries that a git tree may have, with oids of a width in bytes.
func parseTree(raw []byte, width int) ([]Entry, error) {
	rest := string(raw)
	entries := make([]Entry, 0, len(raw)/(len("100644 ")+10+1+width))
	for rest != "" {
		mode, after, _ := strings.Cut(rest, " ")
		name, after, ok := strings.Cut(after, "\x00")
		if !ok || len(after) < width {
			return nil, fmt.Errorf("entry %d is cut off", len(entries)+1)
		}
		e := Entry{Name: name}
		if e.Mode, ok = parseMode(mode); !ok {
			return nil, fmt.Errorf("entry %q: mode %q: not one of 100644 100755 120000 40000 160000", name, mode)
		}
		e.OID = rawOID([]byte(after[:width]))
		entries = append(entries, e)
		rest = after[width:]
	}
	return entries, checkEntries(entries)
}

// CheckName refuses names that cannot be one element of a path, and ".git" in any ASCII case, which would make a
// checkout run what was deployed as git's own configuration. What only HFS+ or NTFS would take for ".git" (ignored
// code points, "git~1") is not refused here: git's fsck does that on the way in, and deploys are read on Linux.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name")
	case name == "." || name == "..":
		return errors.New("names a directory relative to itself")
	case strings.EqualFold(name, ".git"):
		return errors.New("is git's own name in any case")
	case strings.IndexByte(name, '/') >= 0:
		return errors.New("a name with a slash")
	case strings.IndexByte(name, 0) >= 0:
		return errors.New("a name with a NUL")
	}
	return nil
}
