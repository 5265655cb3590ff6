package store

import (
	"fmt"
	"iter"
	"slices"
	"strconv"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// DeployKey is one of the keys of a deploy: which indexes record.KeyNames.
func (c *Chain) DeployKey(id record.ID, which int) string {
	return fmt.Sprintf("%s/deploy/%d/%s", c.ns, id, record.KeyNames[which])
}

// Key is a key of refship's own below the namespace, such as "head" or "lock".
func (c *Chain) Key(name string) string { return string(c.ns) + "/refship/" + name }

// TreeKey is where a directory's node is.
func (c *Chain) TreeKey(oid tree.OID) string { return c.Key("tree/" + oid.String()) }

// ObjectKey is where a raw git object is.
func (c *Chain) ObjectKey(oid tree.OID) string { return c.Key("object/" + oid.String()) }

// ContentKey is where a file's content is.
func (c *Chain) ContentKey(sum tree.SHA256) string {
	return string(c.ns) + "/storage/{sha256}" + sum.String()
}

// ChunkKeys are the keys that hold a value of a size: the key itself, or key/0, key/1 … if it is cut.
func ChunkKeys(key string, size int64) []string { return slices.Collect(Chunks(key, size)) }

// Chunks are ChunkKeys, one after the other: a size that is only claimed makes no long list.
func Chunks(key string, size int64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range chunkCount(size) {
			if !yield(chunkKey(key, size, i)) {
				return
			}
		}
	}
}

// chunkCount is how many keys hold a value of a size.
func chunkCount(size int64) int64 {
	if size <= tree.ChunkSize {
		return 1
	}
	return (size-1)/tree.ChunkSize + 1
}

// chunkKey is the i-th of them.
func chunkKey(key string, size, i int64) string {
	if size <= tree.ChunkSize {
		return key
	}
	return key + "/" + strconv.FormatInt(i, 10)
}
