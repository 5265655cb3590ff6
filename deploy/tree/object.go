package tree

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// ParseObject gives the bytes of a raw git object without its header: never nil if raw is the object of that kind
// ("commit", "tree") and oid, else nil.
func ParseObject(raw []byte, kind string, oid OID) []byte {
	header, data, ok := bytes.Cut(raw, []byte{0})
	if !ok || string(header) != fmt.Sprintf("%s %d", kind, len(data)) || HashObject(kind, data) != oid {
		return nil
	}
	return data
}

// OfCommit gives the tree that a commit names, of the commit's bytes without a header.
func OfCommit(commit []byte) (OID, error) {
	digits, _, _ := strings.Cut(strings.TrimPrefix(string(commit[:min(len(commit), 100)]), "tree "), "\n")
	return ParseOID(digits)
}

// DirectoryIn gives the directory of a name among a tree's entries, the zero OID if there is none.
func DirectoryIn(entries []Entry, name string) OID {
	for _, e := range entries {
		if e.Name == name && e.Mode == filemode.Dir {
			return e.OID
		}
	}
	return OID{}
}
