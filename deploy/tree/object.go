package tree

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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

// signatures begin with one of these lines (gitformat-signature(5); gpg-interface.c, get_format_by_sig): of SSH, of
// OpenPGP, and of X.509.
var signatures = []string{
	"-----BEGIN SSH SIGNATURE-----", "-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----",
	"-----BEGIN SIGNED MESSAGE-----",
}

// SignedTag cuts a tag, or a push certificate, into what is signed and the signature, which may be of any program; nil
// if it has none. It begins at the last line that can begin one (gpg-interface.c, parse_signed_buffer).
func SignedTag(data []byte) (signed, signature []byte) {
	last := -1
	for _, begin := range signatures {
		last = max(last, bytes.LastIndex(data, []byte("\n"+begin)))
	}
	if last < 0 {
		return data, nil
	}
	return data[:last+1], data[last+1:]
}

// SignedCommit cuts a commit into what is signed and the signature, which may be of any program; nil if it has none.
// A signature is a header, its further lines begin with a space (gitformat-signature(5)).
func SignedCommit(data []byte) (signed, signature []byte) {
	header, message, _ := bytes.Cut(data, []byte("\n\n"))
	inside, other := false, false // a signature; that of another hash algorithm, which is not signed either
	for line := range bytes.Lines(append(bytes.Clone(header), '\n')) {
		rest, begins := bytes.CutPrefix(line, []byte("gpgsig "))
		further, goesOn := bytes.CutPrefix(line, []byte(" "))
		if !goesOn {
			inside, other = begins, !begins && bytes.HasPrefix(line, []byte("gpgsig"))
		}
		switch {
		case begins:
			signature = append(signature, rest...)
		case inside && goesOn:
			signature = append(signature, further...)
		case !other:
			signed = append(signed, line...)
		}
	}
	return append(append(signed, '\n'), message...), signature
}

// SignedAt is the time that a commit or a tag says it was made at, which git holds its signature to:
// "committer NAME <MAIL> SECONDS ZONE", or "tagger …".
func SignedAt(data []byte) (time.Time, error) {
	header, _, _ := bytes.Cut(data, []byte("\n\n"))
	for line := range strings.Lines(string(header)) {
		if !strings.HasPrefix(line, "committer ") && !strings.HasPrefix(line, "tagger ") {
			continue
		}
		words := strings.Fields(line[strings.LastIndexByte(line, '>')+1:])
		if len(words) == 0 {
			break
		}
		seconds, err := strconv.ParseInt(words[0], 10, 64)
		return time.Unix(seconds, 0), err
	}
	return time.Time{}, errors.New("no time")
}
