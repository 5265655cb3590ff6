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

// ForeignLeaf is the leaf of a deploy without a record. hash is "" where it has none.
func ForeignLeaf(id record.ID, payload []byte, hash record.Hash) []byte {
	if hash == "" {
		hash = "-"
	}
	return fmt.Appendf(nil, "foreign %d\n%x\n%s\n", id, sha256.Sum256(payload), hash)
}

// MissingLeaf is the leaf of a deploy that had neither a record nor a payload when it was logged.
func MissingLeaf(id record.ID) []byte { return fmt.Appendf(nil, "missing %d\n", id) }

// Root gives the root of the log of the deploys up to an id; 0 is an empty log.
func Root(id record.ID, read Reader) (tlog.Hash, error) {
	t, err := ReadTree(id, read)
	if err != nil {
		return tlog.Hash{}, err
	}
	return t.Root(), nil
}

// ReadTree reads the Tree of the log of the deploys up to an id: a value for each 1 among the id's binary digits.
func ReadTree(id record.ID, read Reader) (*Tree, error) {
	values, err := read(Edge(id))
	var t *Tree
	if err == nil {
		t, err = NewTree(id, values)
	}
	if err != nil {
		return nil, fmt.Errorf("read the log up to deploy %d: %w", id, err)
	}
	return t, nil
}

// CheckLeaf checks that a deploy's leaf is in the log that a checkpoint is the head of.
func CheckLeaf(id record.ID, leaf []byte, in Checkpoint, read Reader) error {
	proof, err := tlog.ProveRecord(int64(in.Size), int64(id-1), read.hashes())
	if err == nil && tlog.CheckRecord(proof, int64(in.Size), in.Root, int64(id-1), tlog.RecordHash(leaf)) != nil {
		err = ErrForked
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
			if err := checkSize(ids[i], value); err != nil {
				return nil, err
			}
			copy(hashes[i][:], value[tlog.HashSize*levels[i]:])
		}
		return hashes, nil
	})
}

// valueSize is the length of a value in bytes: a hash for each level that its leaf completes.
func valueSize(id record.ID) int { return tlog.HashSize * (bits.TrailingZeros64(uint64(id)) + 1) }
