package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/tree"
)

// Format is the version of the record's format that this package writes.
const Format = 1

// maxText bounds subject and author in a record, in bytes.
const maxText = 1000

// Pusher is who made a deploy.
type Pusher struct {
	Name string `json:"name"`
	Key  string `json:"key"` // fingerprint of the key that authenticated, "SHA256:…"; "" if there was none
	Via  string `json:"via"` // how the name is known: "ssh"
}

// Ref names a record by the sha256 of its bytes (64 hex digits); ID 0 and "" is "none".
type Ref struct {
	ID     ID     `json:"id"`
	SHA256 string `json:"sha256"`
}

// Record is what is known of a deploy, stored as JSON at deploy/<N>/record. The order of the fields is part of the
// format; hash and signature cover the stored bytes, never re-encoded ones.
type Record struct {
	Format          int               `json:"format"` // 1
	ID              ID                `json:"id"`
	Kind            Kind              `json:"kind"`
	Forced          bool              `json:"forced"` // the previous-hash check said no and was overridden
	Hash            Hash              `json:"hash"`
	Path            string            `json:"path"`        // what part of the commit's tree; "" is all of it
	Tree            tree.OID          `json:"tree"`        // at path
	TreeSHA256      tree.SHA256       `json:"tree_sha256"` // of the root node's text
	TreeSize        int64             `json:"tree_size"`   // of the root node's text, bytes
	Files           int               `json:"files"`       // files and links in the tree
	Frontend        Frontend          `json:"frontend"`
	Settings        map[string]string `json:"settings"` // of the frontend
	PreviousHash    Hash              `json:"previous_hash"`
	PreviousRecord  Ref               `json:"previous_record"` // the newest record below ID
	Repository      string            `json:"repository"`
	Target          string            `json:"target"`
	Ref             string            `json:"ref"`
	Commits         int               `json:"commits"` // since previous_hash; 1 if first or forced, 0 of a directory
	Subject         string            `json:"subject"` // the commit's, or "directory NAME"
	Author          string            `json:"author"`  // "Name <mail>"; "" for a plain directory
	Pusher          Pusher            `json:"pusher"`
	Reason          string            `json:"reason"`
	PushCertificate string            `json:"push_certificate"` // oid of the stored certificate, or ""
	Server          string            `json:"server"`           // host name of who published
	Signer          string            `json:"signer"`           // fingerprint of the key that signed, or ""
	Time            time.Time         `json:"time"`             // UTC, milliseconds, never decreasing along a chain
}

// Encode gives the record's bytes: JSON without HTML escaping and without a trailing newline.
func (r *Record) Encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Decode reads a record. Unknown fields are tolerated: a later format may add some.
func Decode(text []byte) (*Record, error) {
	r := new(Record)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("record is not readable: %w", err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("record has format %d, this refship reads %d", r.Format, Format)
	}
	if _, err := ParseHash(string(r.Hash)); err != nil {
		return nil, err
	}
	if r.PreviousHash != "" {
		if _, err := ParseHash(string(r.PreviousHash)); err != nil {
			return nil, err
		}
	}
	if r.Tree.IsZero() || r.TreeSHA256 == (tree.SHA256{}) || r.TreeSize < 0 || r.Files < 0 {
		return nil, fmt.Errorf("record has tree %s of %d bytes and sha256 %s, and %d files",
			r.Tree, r.TreeSize, r.TreeSHA256, r.Files)
	}
	if r.Hash.IsTree() && r.Hash != TreeHash(r.Tree) {
		return nil, fmt.Errorf("record has the deploy hash %s and the tree %s", r.Hash, r.Tree)
	}
	return r, nil
}

// Root is the record's tree as an entry, for reading it like any other directory.
func (r *Record) Root() tree.Entry {
	return tree.Entry{Mode: filemode.Dir, OID: r.Tree, Size: r.TreeSize, SHA256: r.TreeSHA256}
}

// Sum is the sha256 of a record's bytes, in hex.
func Sum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// SubjectOf is a commit message's first paragraph on one line, as git's %s.
func SubjectOf(message string) string {
	var lines []string
	for line := range strings.Lines(message) {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" && len(lines) > 0 {
			break
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return Shorten(strings.TrimSpace(strings.Join(lines, " ")))
}

// Shorten makes a text from outside valid UTF-8 of at most 1,000 bytes, and an ellipsis.
func Shorten(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
