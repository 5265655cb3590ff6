package record

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/keys"
)

// Deploy is one published deploy as etcd has it.
type Deploy struct {
	ID          ID
	Hash        Hash    // "" for a foreign deploy without one
	Record      *Record // nil for a foreign deploy and for a damaged one
	RecordBytes []byte  // what is stored: hash and signature cover these
	Signature   []byte  // armored SSH signature over RecordBytes; nil if unsigned
	Damage      error   // why the deploy cannot be believed: fault.Corrupt, or IsNewer; nil: it can
	Restarts    bool    // the record begins a chain, though there are records below: they are damaged or were passed over

	Revisions [NumKeys]int64 // mod revisions of its keys; 0: absent
}

// IsMissing tells whether none of its keys is there.
func (d *Deploy) IsMissing() bool { return d.Revisions == [NumKeys]int64{} }

// ShortHash is the hash for a sentence: "5d6e7f8", or "without a hash".
func (d *Deploy) ShortHash() string {
	if d.Hash == "" {
		return "without a hash"
	}
	return d.Hash.Short()
}

// By says who deployed, for a sentence.
func (d *Deploy) By() string {
	switch {
	case d.Damage != nil:
		return "an unknown user"
	case d.Record == nil:
		return "another writer"
	}
	return text.Printable(d.Record.Pusher.Name)
}

// Judge says who signed the deploy, if that is one of the allowed signers, as they were at the record's time. An error
// says why the deploy cannot be trusted; it is fault.Corrupt.
func (d *Deploy) Judge(allowed *keys.AllowedSigners) (principals string, err error) {
	bad := func(what, remedy string) (string, error) {
		return "", fault.New(fault.Corrupt, fmt.Sprintf("verify deploy %d: %s", d.ID, what), remedy)
	}
	switch {
	case d.Damage != nil:
		return "", d.Damage
	case d.Record == nil:
		return bad("it has no record, so nothing says who made it", "take a deploy that refship made and signed")
	case d.Record.Signer == "":
		return bad("its record is not signed", "take a signed deploy, or deploy again with a signing key")
	}
	principals, err = allowed.Judge(keys.Namespace, d.Record.Signer, d.Record.Time)
	if err != nil {
		return "", fault.Newf(fault.Corrupt, "verify deploy %d: its signer %w", d.ID, err)
	}
	return principals, nil
}

// Key is the key that signed the record; that the signature is good was found when the deploy was decoded.
func (d *Deploy) Key() (ssh.PublicKey, error) {
	if d.Signature == nil {
		return nil, fmt.Errorf("deploy %d is not signed", d.ID)
	}
	return keys.Verify(keys.Namespace, d.RecordBytes, d.Signature)
}

// ReasonDamaged: a value in etcd is damaged. About: its key.
const ReasonDamaged fault.Reason = "damaged"

const damagedRemedy = "etcd was changed by something other than refship, or restored in part: restore it from a backup"

// Corrupt says that a value in etcd is not what leads to it promises.
func Corrupt(key, what string) error {
	return &fault.Error{
		Kind: fault.Corrupt, What: fmt.Sprintf("verify %s: %s", key, what), Reason: ReasonDamaged, About: []string{key},
		Remedy: damagedRemedy,
	}
}

// ErrMissing: a key that something leads to is not there.
var ErrMissing = errors.New("it is missing")

// Missing is Corrupt of a key that is not there; it wraps ErrMissing.
func Missing(key string) error {
	return &fault.Error{
		Kind: fault.Corrupt, What: fmt.Sprintf("verify %s: %s", key, ErrMissing), Reason: ReasonDamaged,
		About: []string{key}, Remedy: damagedRemedy, Cause: ErrMissing,
	}
}

// NewDeploy makes a deploy of a record: it encodes it and, with a signer, signs it. The record's Signer must say who.
func NewDeploy(r *Record, signer ssh.Signer) (*Deploy, error) {
	text, err := r.Encode()
	if err != nil {
		return nil, err
	}
	d := &Deploy{ID: r.ID, Hash: r.Hash, Record: r, RecordBytes: text}
	if signer != nil {
		if d.Signature, err = keys.Sign(signer, keys.Namespace, text); err != nil {
			return nil, fmt.Errorf("sign record: %w", err)
		}
	}
	return d, nil
}

// Decode reads a deploy's record and compares it with its keys, with the namespace that it is in, with the clock, and
// with its signature, which must be by the key that the record names. It does not ask whether that key is trusted, and
// does not look at other deploys. key names the keys in errors, which are fault.Corrupt; only a record of a later
// format gives another.
func (d *Deploy) Decode(ns Namespace, now time.Time, key func(which int) string) error {
	r, err := Decode(d.RecordBytes)
	bad := func(which int, what string) error { return Corrupt(key(which), what) }
	signed := d.Revisions[KeySignature] != 0
	switch {
	case errors.Is(err, errNewerFormat):
		return fmt.Errorf("read %s: %w", key(KeyRecord), err)
	case err != nil:
		return bad(KeyRecord, err.Error())
	case r.Namespace != ns:
		return bad(KeyRecord, "the record is that of a deploy in "+string(r.Namespace))
	case r.ID != d.ID:
		return bad(KeyRecord, fmt.Sprintf("the record is that of deploy %d", r.ID))
	case d.Revisions[KeyHash] == 0:
		return bad(KeyHash, fmt.Sprintf("it is missing, the record says %s", r.Hash))
	case r.Hash != d.Hash:
		return bad(KeyHash, fmt.Sprintf("the record says %s", r.Hash))
	case r.Time.Sub(now) > maxAhead:
		return bad(KeyRecord, "the record's time is "+r.Time.UTC().Format(time.RFC3339)+", more than ten years ahead")
	case signed && r.Signer == "":
		return bad(KeySignature, "there is a signature, and the record names no signer")
	case !signed && r.Signer != "":
		return bad(KeySignature, "there is no signature, and the record names the signer "+text.Printable(r.Signer))
	}
	if signed {
		by, err := keys.Verify(keys.Namespace, d.RecordBytes, d.Signature)
		if err != nil {
			return bad(KeySignature, err.Error())
		}
		if by := ssh.FingerprintSHA256(by); by != r.Signer {
			return bad(KeySignature, fmt.Sprintf("it is by %s, the record names the signer %s", by, text.Printable(r.Signer)))
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
