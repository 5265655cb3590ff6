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
	if !ok || string(header) != fmt.Sprintf("%s %d", kind, len(data)) || HashObject(oid.Format(), kind, data) != oid {
		return nil
	}
	return data
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
