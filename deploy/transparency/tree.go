package transparency

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"refship/deploy/record"
)

// Tree is a log to append to. It keeps the hashes of the largest full subtrees, some 32 bytes for each digit of its
// size.
type Tree struct {
	size record.ID
	full []tlog.Hash // the largest subtree first: one for each 1 in size
}

// Edge gives the ids in whose values the hashes stand that a Tree of a size keeps, in their order.
func Edge(size record.ID) (ids []record.ID) {
	for end := record.ID(0); end < size; {
		end += 1 << (bits.Len64(uint64(size-end)) - 1)
		ids = append(ids, end)
	}
	return ids
}

// NewTree makes the Tree of a log of a size, of the values of Edge's ids.
func NewTree(size record.ID, values [][]byte) (*Tree, error) {
	t := &Tree{size: size}
	begin := record.ID(0)
	for i, id := range Edge(size) {
		if err := checkSize(id, values[i]); err != nil {
			return nil, err
		}
		level := bits.TrailingZeros64(uint64(id - begin))
		begin = id
		t.full = append(t.full, tlog.Hash(values[i][tlog.HashSize*level:]))
	}
	return t, nil
}

// Clone gives a Tree that grows by itself.
func (t *Tree) Clone() *Tree { return &Tree{t.size, slices.Clone(t.full)} }

// Size is how many leaves there are: the id of the newest deploy.
func (t *Tree) Size() record.ID { return t.size }

// Append appends a leaf by its hash (tlog.RecordHash), and gives the value that belongs at its id.
func (t *Tree) Append(leaf tlog.Hash) (value []byte) {
	t.size++
	value = append(value, leaf[:]...)
	for range bits.TrailingZeros64(uint64(t.size)) {
		last := len(t.full) - 1
		leaf = tlog.NodeHash(t.full[last], leaf)
		t.full = t.full[:last]
		value = append(value, leaf[:]...)
	}
	t.full = append(t.full, leaf)
	return value
}

// Root is the log's root.
func (t *Tree) Root() tlog.Hash {
	if t.size == 0 {
		root, _ := tlog.TreeHash(0, nil) // it reads nothing
		return root
	}
	root := t.full[len(t.full)-1]
	for _, left := range slices.Backward(t.full[:len(t.full)-1]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

// LeafHash is the hash of a leaf: the first of its value.
func LeafHash(leaf []byte) tlog.Hash { return tlog.RecordHash(leaf) }

var errSize = errors.New("the log is damaged")

// checkSize refuses a value that has not the hashes that its leaf completes.
func checkSize(id record.ID, value []byte) error {
	if len(value) != valueSize(id) {
		return fmt.Errorf("%w: its value of deploy %d has %d bytes, not %d", errSize, id, len(value), valueSize(id))
	}
	return nil
}
