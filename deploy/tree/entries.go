package tree

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// knownModes are the modes for a sentence.
const knownModes = "100644 100755 120000 40000 160000"

func knownMode(m filemode.FileMode) bool {
	switch m {
	case filemode.Regular, filemode.Executable, filemode.Symlink, filemode.Dir, filemode.Submodule:
		return true
	}
	return false
}

// parseMode reads a mode as git writes it: octal, without leading zeros.
func parseMode(s string) (filemode.FileMode, bool) {
	n, err := strconv.ParseUint(s, 8, 32)
	mode := filemode.FileMode(n)
	return mode, err == nil && s[0] != '0' && knownMode(mode)
}

// checkEntries holds entries to the rules that git trees and nodes share.
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
			return fmt.Errorf("entry %q: its oid is not as long as that of %q", e.Name, before.Name)
		case before.Name == e.Name:
			return fmt.Errorf("entry %q: twice", e.Name)
		case compareEntries(before.Name, before.Mode, e.Name, e.Mode) >= 0:
			return fmt.Errorf("entry %q: out of order after %q", e.Name, before.Name)
		}
	}
	// The search needs the order, which is known to be right only now. "a" as a file and "a" as a directory are not
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

// treeOID is the oid of a git tree of a format with these entries; zero if they are of another one: no repository has
// such a tree.
func treeOID(f Format, entries []Entry) OID {
	for i := range entries {
		if entries[i].OID.Format() != f {
			return OID{}
		}
	}
	return HashObject(f, "tree", rawTree(entries))
}

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

// ParseTree reads a git tree of a format as git stores it. It refuses what git itself would not have written: an old or
// zero-padded mode, a bad name, a name twice, a wrong order. Errors name the entry. Sizes and sha256s are not in it.
func ParseTree(raw []byte, f Format) ([]Entry, error) {
	width := f.Size()
	rest := string(raw)
	entries := make([]Entry, 0, countRaw(rest, width))
	for rest != "" {
		mode, after, _ := strings.Cut(rest, " ")
		name, after, ok := strings.Cut(after, "\x00")
		if !ok || len(after) < width {
			return nil, fmt.Errorf("entry %d is cut off", len(entries)+1)
		}
		e := Entry{Name: name}
		if e.Mode, ok = parseMode(mode); !ok {
			return nil, fmt.Errorf("entry %q: mode %q is not one of %s", name, mode, knownModes)
		}
		e.OID = rawOID([]byte(after[:width]))
		entries = append(entries, e)
		rest = after[width:]
	}
	return entries, checkEntries(entries)
}

// countRaw counts the entries of a git tree: growing a slice of them would take twice the memory.
func countRaw(raw string, width int) (n int) {
	for {
		end := strings.IndexByte(raw, 0)
		if end < 0 || len(raw)-end-1 < width {
			return n
		}
		n++
		raw = raw[end+1+width:]
	}
}

// CheckName refuses names that cannot be one element of a path, and ".git" with its disguises ([ErrDotGit]), which
// would make a checkout run what was deployed as git's own configuration.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name")
	case name == "." || name == "..":
		return errors.New("names a directory relative to itself")
	case strings.IndexByte(name, '/') >= 0:
		return errors.New("a name with a slash")
	case strings.IndexByte(name, 0) >= 0:
		return errors.New("a name with a NUL")
	case isDotGit(name):
		return ErrDotGit
	}
	return nil
}
