package record

import (
	"fmt"
	"regexp"
	"time"

	"refship/deploy/text"
	"refship/deploy/tree"
)

// The bounds of a record's fields. Any writer of etcd can make a record: what is out of bounds is damage, and
// must not get into the next record or in its way.
const (
	// MaxID is the highest id of a deploy: 2^53, beyond which JSON's numbers are not exact.
	MaxID ID = 1 << 53

	// maxAhead is how far a record's time may be ahead of the reader's clock. The next record's time is not before it.
	maxAhead = 10 * 365 * 24 * time.Hour

	maxName     = 4_096   // bytes of a name, a ref or a fingerprint
	maxFiles    = 1 << 31 // files and links
	maxNode     = 1 << 40 // bytes of a root's node
	maxCommits  = 1 << 31
	maxSettings = 100
	maxUndone   = 10_000
)

var (
	chainIDPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
	wordPattern    = regexp.MustCompile(`^[a-z][a-z-]{0,31}$`)
)

// check compares each field with its bounds, in the record's order.
func (r *Record) check() error {
	_, namespace := ParseNamespace(string(r.Namespace))
	for _, field := range []struct {
		name  string
		value any
		ok    bool
	}{
		{"format", r.Format, r.Format == Format},
		{"namespace", r.Namespace, namespace == nil},
		{"chain", r.Chain, chainIDPattern.MatchString(string(r.Chain))},
		{"id", r.ID, r.ID > 0 && r.ID <= MaxID},
		{"kind", r.Kind, wordPattern.MatchString(string(r.Kind))},
		{"hash", r.Hash, isHash(r.Hash) && (!r.Hash.IsTree() || r.Hash == TreeHash(r.Tree))},
		{"path", r.Path, CheckPath(r.Path) == nil},
		{"tree", r.Tree, !r.Tree.IsZero()},
		{"tree_sha256", r.TreeSHA256, r.TreeSHA256 != tree.SHA256{}},
		{"tree_size", r.TreeSize, r.TreeSize >= 0 && r.TreeSize <= maxNode},
		{"files", r.Files, r.Files >= 0 && r.Files <= maxFiles},
		{"frontend", r.Frontend, wordPattern.MatchString(string(r.Frontend))},
		{"settings", r.Settings, areSettings(r.Settings)},
		{"previous_hash", r.PreviousHash, r.PreviousHash == "" || isHash(r.PreviousHash)},
		{"previous_record", r.PreviousRecord, r.PreviousRecord.isBelow(r.ID)},
		{"repository", r.Repository, len(r.Repository) <= maxName},
		{"target", r.Target, len(r.Target) <= maxName},
		{"ref", r.Ref, len(r.Ref) <= maxName},
		{"tag", r.Tag, (r.Tag.OID == "" || isOID(r.Tag.OID)) && len(r.Tag.Key) <= maxName},
		{"commits", r.Commits, r.Commits >= 0 && r.Commits <= maxCommits},
		{"subject", r.Subject, len(r.Subject) <= maxName},
		{"author", r.Author, len(r.Author) <= maxName},
		{"pusher", r.Pusher, max(len(r.Pusher.Name), len(r.Pusher.Key), len(r.Pusher.Via)) <= maxName},
		{"reason", r.Reason, len(r.Reason) <= MaxReason},
		{"again", r.Again, r.Again < r.ID},
		{"undone", r.Undone, r.Undone != nil && areUndone(r.Undone, r.ID)},
		{"next_signer", r.NextSigner, len(r.NextSigner) <= maxName},
		{"push_certificate", r.PushCertificate, r.PushCertificate == "" || isOID(r.PushCertificate)},
		{"server", r.Server, len(r.Server) <= maxName},
		{"signer", r.Signer, len(r.Signer) <= maxName},
		{"time", r.Time, isTime(r.Time)},
	} {
		if !field.ok {
			return fmt.Errorf("the record's %s is out of bounds: %s", field.name,
				text.Printable(text.Clip(fmt.Sprint(field.value))))
		}
	}
	return nil
}

func isHash(h Hash) bool {
	_, err := ParseHash(string(h))
	return err == nil
}

func isOID(digits string) bool {
	oid, err := tree.ParseOID(digits)
	return err == nil && !oid.IsZero()
}

// isTime tells whether JSON and people can read the time.
func isTime(t time.Time) bool { return t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 }

// isBelow tells whether the reference is none, or names a record below id.
func (ref Ref) isBelow(id ID) bool {
	if ref == (Ref{}) {
		return true
	}
	_, err := tree.ParseSHA256(ref.SHA256)
	return ref.ID > 0 && ref.ID < id && err == nil
}

func areSettings(settings map[string]string) bool {
	for name, value := range settings {
		if len(name)+len(value) > 2*maxName {
			return false
		}
	}
	return len(settings) <= maxSettings
}

func areUndone(undone []Undone, id ID) bool {
	for _, u := range undone {
		if u.ID == 0 || u.ID >= id || !isHash(u.Hash) {
			return false
		}
	}
	return len(undone) <= maxUndone
}
