package record

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// Format is the version of the record's format that this package writes.
const Format = 1

// errNewerFormat: a newer refship has written the record.
var errNewerFormat = errors.New("newer format")

// IsNewer tells whether an error is that a newer refship has written a record.
func IsNewer(err error) bool { return errors.Is(err, errNewerFormat) }

// maxText bounds subject and author in a record, in bytes.
const maxText = 1000

// MaxReason bounds a reason, in bytes: a record is one value in etcd and a few lines for people.
const MaxReason = 10_000

// CheckReason says what keeps a reason, which may be empty, from being in a record.
func CheckReason(reason string) error {
	switch {
	case len(reason) > MaxReason:
		return fault.Refuse("say it shorter", "reason is %d bytes (limit %d)", len(reason), MaxReason)
	case !utf8.ValidString(reason):
		return fault.Refuse("write it in UTF-8", "the reason is not UTF-8, and a record is")
	}
	return nil
}

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

// ChainID tells one chain from another of the same namespace: 32 hex digits at random. The namespace's first record
// makes it, all later ones repeat it.
type ChainID string

// NewChainID makes the id of a new chain.
func NewChainID() ChainID {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return ChainID(hex.EncodeToString(id[:]))
}

// Tag is the annotated tag that asked for a deploy; both are "" without one.
type Tag struct {
	OID string `json:"oid"`
	Key string `json:"key"` // fingerprint of the key that signed the tag
}

// Undone is a deploy that a later one took back.
type Undone struct {
	ID   ID   `json:"id"`
	Hash Hash `json:"hash"`
}

// Record is what is known of a deploy, stored as JSON at deploy/<N>/record. The order of the fields is part of the
// format; hash and signature cover the stored bytes, never re-encoded ones.
type Record struct {
	Format          int               `json:"format"` // 1
	Namespace       Namespace         `json:"namespace"`
	Chain           ChainID           `json:"chain"`
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
	Tag             Tag               `json:"tag"`
	Commits         int               `json:"commits"` // as CountCommits counts; 0 of a directory
	Subject         string            `json:"subject"` // the commit's, "directory NAME" or "file NAME"
	Author          string            `json:"author"`  // "Name <mail>"; "" for a plain directory
	Pusher          Pusher            `json:"pusher"`
	Reason          string            `json:"reason"`
	Again           ID                `json:"again"`            // the head whose undone deploys may come back; 0: none
	Undone          []Undone          `json:"undone"`           // never null
	NextSigner      string            `json:"next_signer"`      // fingerprint of the key that will sign; "": this one
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

// Decode reads a record and refuses what no refship writes: see check. Unknown fields are tolerated. Of a later format
// the error is errNewerFormat: such a record is not damaged.
func Decode(encoded []byte) (*Record, error) {
	r := new(Record)
	err := json.Unmarshal(encoded, r)
	format := r.Format
	if err != nil {
		format = formatOf(encoded)
	}
	switch {
	case format > Format:
		return nil, &fault.Error{
			What:   fmt.Sprintf("the record has format %d, and this refship reads format %d", format, Format),
			Remedy: "a newer refship has written it: use that", Cause: errNewerFormat,
		}
	case err != nil:
		return nil, fmt.Errorf("record is not readable: %s", text.Clip(err.Error())) // it may quote all of a number
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// formatOf gives the format of a record whose other fields may be of any kind, as those of a later one; 0: it has none.
func formatOf(encoded []byte) int {
	var is struct{ Format int }
	if json.Unmarshal(encoded, &is) != nil {
		return 0
	}
	return is.Format
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
func Shorten(s string) string {
	return text.Shorten(strings.ToValidUTF8(s, "\uFFFD"), maxText)
}

// A rollback's subject names the deploy that it went back to: "to 4: ", and the subject of that.
var rollbackSubject = regexp.MustCompile(`^to ([0-9]{1,16}): `)

// RollbackSubject is the subject of a rollback's record.
func RollbackSubject(to ID, subject string) string {
	return Shorten(fmt.Sprintf("to %s: %s", to, subject))
}

// ParseRollback gives the deploy that a rollback went back to, and the subject of that; of another record 0 and its own
// subject.
func ParseRollback(r *Record) (to ID, subject string) {
	found := rollbackSubject.FindStringSubmatch(r.Subject)
	if r.Kind != KindRollback || found == nil {
		return 0, r.Subject
	}
	to, err := ParseID(found[1])
	if err != nil {
		return 0, r.Subject
	}
	return to, strings.TrimPrefix(r.Subject, found[0])
}
