package tree

import (
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"

	githash "github.com/go-git/go-git/v5/plumbing/hash"
)

// SHA256 is the sha256 of a content or of a node's text.
type SHA256 [32]byte

// String gives 64 lower-case hex digits.
func (s SHA256) String() string { return hex.EncodeToString(s[:]) }

// ParseSHA256 reads 64 lower-case hex digits.
func ParseSHA256(digits string) (SHA256, error) {
	var s SHA256
	if !decodeHex(s[:], digits) {
		return SHA256{}, fmt.Errorf("sha256 %q is not 64 lower-case hex digits", digits)
	}
	return s, nil
}

// MarshalText is String.
func (s SHA256) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSHA256.
func (s *SHA256) UnmarshalText(digits []byte) (err error) {
	*s, err = ParseSHA256(string(digits))
	return err
}

// BlobHash takes the oid of a blob whose bytes are written to it. Write never fails.
type BlobHash struct{ h hash.Hash }

// HashBlob starts a BlobHash for a blob of size bytes. Of SHA-1 it is the plain one, without git's collision detection,
// which `git receive-pack` ran over everything it let in: it finds damage, and the sha256 beside it proves the bytes.
func HashBlob(f Format, size int64) *BlobHash {
	if f == FormatSHA256 {
		return startBlob(sha256.New(), size)
	}
	return startBlob(sha1.New(), size)
}

// hashNewBlob is HashBlob for what no git has let in.
func hashNewBlob(f Format, size int64) *BlobHash { return startBlob(f.newHash(), size) }

// newHash is git's own hash of the format: of SHA-1 the one that detects collisions.
func (f Format) newHash() hash.Hash {
	if f == FormatSHA256 {
		return sha256.New()
	}
	return githash.New(crypto.SHA1)
}

func startBlob(h hash.Hash, size int64) *BlobHash {
	h.Write(objectHeader("blob", size))
	return &BlobHash{h}
}

func (h *BlobHash) Write(b []byte) (int, error) { return h.h.Write(b) }

// OID is the blob's oid, when all its bytes are written.
func (h *BlobHash) OID() OID { return rawOID(h.h.Sum(nil)) }

// ContentHash takes a content's sha256 and its blob oid in one pass. Write never fails.
type ContentHash struct {
	*BlobHash
	sum hash.Hash
}

// NewContentHash starts a ContentHash for a content of size bytes.
func NewContentHash(f Format, size int64) *ContentHash {
	return &ContentHash{HashBlob(f, size), sha256.New()}
}

func (h *ContentHash) Write(b []byte) (int, error) {
	_, _ = h.sum.Write(b)
	return h.BlobHash.Write(b)
}

// SHA256 is that of what was written.
func (h *ContentHash) SHA256() SHA256 { return SHA256(h.sum.Sum(nil)) }

// HashObject is the oid of an object of git; typ is "blob", "tree", "commit" or "tag".
func HashObject(f Format, typ string, data []byte) OID {
	h := f.newHash()
	h.Write(objectHeader(typ, int64(len(data))))
	h.Write(data)
	return rawOID(h.Sum(nil))
}

// objectHeader is what git puts before an object's bytes when it hashes them: type SP size NUL.
func objectHeader(typ string, size int64) []byte {
	b := make([]byte, 0, 32)
	b = append(b, typ...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, size, 10)
	return append(b, 0)
}

// decodeHex is stricter than encoding/hex: exactly len(dst) bytes, lower case only.
func decodeHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	for i := range dst {
		hi, lo := hexDigit(s[2*i]), hexDigit(s[2*i+1])
		if hi|lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
