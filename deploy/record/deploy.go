package record

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/keys"
)

// Deploy is one published deploy as etcd has it.
type Deploy struct {
	ID          ID
	Hash        Hash    // "" for a foreign deploy without one
	Record      *Record // nil for a foreign deploy
	RecordBytes []byte  // what is stored: hash and signature cover these
	Signature   []byte  // armored SSH signature over RecordBytes; nil if unsigned

	Revisions [NumKeys]int64 // mod revisions of its keys; 0: absent
}

// By says who deployed, for a sentence.
func (d *Deploy) By() string {
	if d.Record == nil {
		return "another writer"
	}
	return text.Printable(d.Record.Pusher.Name)
}

// Corrupt says that a value in etcd is not what leads to it promises.
func Corrupt(key, what string) error {
	return fault.New(fault.Corrupt, fmt.Sprintf("verify %s: %s", key, what),
		"etcd was changed by something other than refship, or restored in part: restore it from a backup, "+
			"or deploy the repository into a new namespace")
}

// NewDeploy makes a deploy of a record: it encodes it and, with a signer, signs it. The record's Signer must say who.
func NewDeploy(r *Record, signer ssh.Signer) (*Deploy, error) {
	text, err := r.Encode()
	if err != nil {
		return nil, err
	}
	d := &Deploy{ID: r.ID, Hash: r.Hash, Record: r, RecordBytes: text}
	if signer != nil {
		if d.Signature, err = keys.Sign(signer, signatureNamespace, text); err != nil {
			return nil, fmt.Errorf("sign record: %w", err)
		}
	}
	return d, nil
}

// Decode reads a deploy's record and compares it with its keys, and with its signature, which must be by the key that
// the record names. It does not ask whether that key is trusted. key names the keys in errors, which are fault.Corrupt.
func (d *Deploy) Decode(key func(which int) string) error {
	r, err := Decode(d.RecordBytes)
	bad := func(which int, what string) error { return Corrupt(key(which), what) }
	signed := d.Revisions[KeySignature] != 0
	switch {
	case err != nil:
		return bad(KeyRecord, err.Error())
	case r.ID != d.ID:
		return bad(KeyRecord, fmt.Sprintf("the record is that of deploy %d", r.ID))
	case r.Hash != d.Hash:
		return bad(KeyHash, fmt.Sprintf("the record says %s", r.Hash))
	case signed && r.Signer == "":
		return bad(KeySignature, "there is a signature, and the record names no signer")
	case !signed && r.Signer != "":
		return bad(KeySignature, "there is no signature, and the record names the signer "+r.Signer)
	}
	if signed {
		by, err := keys.Verify(signatureNamespace, d.RecordBytes, d.Signature)
		if err != nil {
			return bad(KeySignature, err.Error())
		}
		if by := ssh.FingerprintSHA256(by); by != r.Signer {
			return bad(KeySignature, fmt.Sprintf("it is by %s, the record names the signer %s", by, r.Signer))
		}
	}
	d.Record = r
	return nil
}

// The keys of deploy N that its publishing txn writes, in the order of a Deploy's revisions.
const (
	KeyHash = iota
	KeyRecord
	KeySignature
	KeyPayload
	NumKeys
)

var KeyNames = [NumKeys]string{"hash", "record", "signature", "payload"}

// signatureNamespace is the namespace of the SSH signature over a record.
const signatureNamespace = "refship"
