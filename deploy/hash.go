package deploy

import (
	"crypto/sha256"
	"hash"

	"github.com/go-git/go-git/v5/plumbing"

	"refship/deploy/tree"
)

// contentHash takes a content's sha256 and its blob oid in one pass.
type contentHash struct{ sum, oid hash.Hash }

func newContentHash(size int64) *contentHash {
	return &contentHash{sum: sha256.New(), oid: tree.HashBlob(size)}
}

// Write never fails.
func (h *contentHash) Write(b []byte) (int, error) {
	_, _ = h.sum.Write(b)
	return h.oid.Write(b)
}

func (h *contentHash) SHA256() tree.SHA256 { return tree.SHA256(h.sum.Sum(nil)) }

func (h *contentHash) OID() plumbing.Hash { return plumbing.Hash(h.oid.Sum(nil)) }
