package transparency

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"refship/deploy/record"
)

// Reader reads the values of NS/refship/log/<id>, in the order of the ids.
type Reader func(ids []record.ID) ([][]byte, error)

// Leaf gives the value of NS/refship/log/<id>, of a deploy whose leaf is given. It reads values below.
func Leaf(id record.ID, leaf []byte, read Reader) ([]byte, error) {
	hashes, err := tlog.StoredHashes(int64(id-1), leaf, read.hashes())
	if err != nil {
		return nil, fmt.Errorf("add deploy %d to the log: %w", id, err)
	}
	var value []byte
	for _, h := range hashes {
		value = append(value, h[:]...)
	}
	return value, nil
}

// ForeignLeaf is the leaf of a deploy without a record. hash is "" where it has none.
func ForeignLeaf(id record.ID, payload []byte, hash record.Hash) []byte {
	if hash == "" {
		hash = "-"
	}
	return fmt.Appendf(nil, "foreign %d\n%x\n%s\n", id, sha256.Sum256(payload), hash)
}

// Root gives the root of the log of the deploys up to an id; 0 is an empty log.
func Root(id record.ID, read Reader) (tlog.Hash, error) {
	root, err := tlog.TreeHash(int64(id), read.hashes())
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("read the log up to deploy %d: %w", id, err)
	}
	return root, nil
}

// CheckLeaf checks that a deploy's leaf is in the log that a checkpoint is the head of.
func CheckLeaf(id record.ID, leaf []byte, in Checkpoint, read Reader) error {
	proof, err := tlog.ProveRecord(int64(in.Size), int64(id-1), read.hashes())
	if err == nil {
		err = tlog.CheckRecord(proof, int64(in.Size), in.Root, int64(id-1), tlog.RecordHash(leaf))
	}
	if err != nil {
		return fmt.Errorf("check deploy %d in the log of %d: %w", id, in.Size, err)
	}
	return nil
}

// hashes finds hashes in leaves' values.
func (r Reader) hashes() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		levels, ids := make([]int, len(indexes)), make([]record.ID, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			levels[i], ids[i] = level, record.ID((n+1)<<level)
		}
		values, err := r(ids)
		if err != nil {
			return nil, err
		}
		hashes := make([]tlog.Hash, len(indexes))
		for i, value := range values {
			if len(value) != valueSize(ids[i]) {
				return nil, fmt.Errorf("the log's value of deploy %d has %d bytes, not %d", ids[i], len(value), valueSize(ids[i]))
			}
			copy(hashes[i][:], value[tlog.HashSize*levels[i]:])
		}
		return hashes, nil
	})
}

// valueSize is the length of a value in bytes: a hash for each level that its leaf completes.
func valueSize(id record.ID) int { return tlog.HashSize * (bits.TrailingZeros64(uint64(id)) + 1) }
