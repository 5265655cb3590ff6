package tree

import (
	"encoding/hex"
	"fmt"

	"refship/deploy/text"
)

// OID names a git object by its hash: 20 bytes of SHA-1, or 32 of SHA-256. The zero OID names none. OIDs are compared
// with == and may be keys of a map.
type OID struct {
	sum  [32]byte // SHA-1 has the first 20
	long bool     // SHA-256
}

// ParseOID reads an oid as git prints it: 40 or 64 lower-case hex digits. All zeros, which git prints where there is no
// object, are the zero OID.
func ParseOID(digits string) (OID, error) {
	var sum [32]byte
	n := len(digits) / 2
	if n != 20 && n != 32 || !decodeHex(sum[:n], digits) {
		return OID{}, fmt.Errorf("oid %q is not 40 or 64 lower-case hex digits", text.Clip(digits))
	}
	return rawOID(sum[:n]), nil
}

// rawOID is the oid with these 20 or 32 bytes.
func rawOID(sum []byte) OID {
	var o OID
	if copy(o.sum[:], sum); o.sum != (OID{}).sum {
		o.long = len(sum) == len(o.sum)
	}
	return o
}

// Format is the object format of the repositories that can have the oid; of the zero OID it is SHA-1.
func (o OID) Format() Format {
	if o.long {
		return FormatSHA256
	}
	return FormatSHA1
}

// size is the oid's length in bytes.
func (o OID) size() int { return o.Format().Size() }

// IsZero tells whether the oid names no object.
func (o OID) IsZero() bool { return o == OID{} }

// Bytes gives the 20 or 32 bytes of the hash.
func (o OID) Bytes() []byte { return o.sum[:o.size()] }

// String gives 40 or 64 lower-case hex digits; 40 zeros of the zero OID, as git prints it.
func (o OID) String() string { return hex.EncodeToString(o.Bytes()) }

// MarshalText is String.
func (o OID) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText is ParseOID.
func (o *OID) UnmarshalText(digits []byte) (err error) {
	*o, err = ParseOID(string(digits))
	return err
}
