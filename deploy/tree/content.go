package tree

import (
	"crypto/sha256"
	"hash"
)

// ContentHash takes a content's sha256 and its blob oid in one pass.
type ContentHash struct{ sum, oid hash.Hash }

func NewContentHash(size int64) *ContentHash {
	return &ContentHash{sum: sha256.New(), oid: HashBlob(size)}
}

// Write never fails.
func (h *ContentHash) Write(b []byte) (int, error) {
	_, _ = h.sum.Write(b)
	return h.oid.Write(b)
}

func (h *ContentHash) SHA256() SHA256 { return SHA256(h.sum.Sum(nil)) }

func (h *ContentHash) OID() OID { return sumOf(h.oid) }
