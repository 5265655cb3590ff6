package store

import (
	"context"
	"fmt"
	"strings"

	"refship/deploy/record"
	"refship/deploy/tree"
)

// Above reads the git objects that lead from a deploy's commit to its path, and gives those trees: from the commit's
// own down to the one that has the path's directory. Without a path there are none, and nothing is read. What is
// missing or is not that object is fault.Corrupt.
func (c *Chain) Above(ctx context.Context, r *record.Record) (trees []tree.OID, err error) {
	if r.Path == "" || r.Hash.IsTree() {
		return nil, nil
	}
	commit, err := c.Object(ctx, "commit", r.Hash.OID())
	if err != nil {
		return nil, err
	}
	at, err := tree.OfCommit(commit, r.Hash.OID().Format())
	if err != nil {
		return nil, record.Corrupt(c.ObjectKey(r.Hash.OID()), "it names no tree: "+err.Error())
	}
	for _, name := range strings.Split(r.Path, "/") {
		data, err := c.Object(ctx, "tree", at)
		if err != nil {
			return nil, err
		}
		entries, err := tree.ParseTree(data, at.Format())
		if err != nil {
			return nil, record.Corrupt(c.ObjectKey(at), err.Error())
		}
		trees = append(trees, at)
		if at = tree.DirectoryIn(entries, name); at.IsZero() {
			return nil, record.Corrupt(c.ObjectKey(trees[len(trees)-1]), fmt.Sprintf("it has no directory %q", name))
		}
	}
	return trees, nil
}

// Object reads a git object of a kind ("commit", "tree", "tag", "blob"), without its header. What is missing or is not
// that object is fault.Corrupt.
func (c *Chain) Object(ctx context.Context, kind string, oid tree.OID) ([]byte, error) {
	key := c.ObjectKey(oid)
	values, err := c.Values(ctx, key)
	if err != nil {
		return nil, err
	}
	if values[0].Revision == 0 {
		return nil, record.Missing(key)
	}
	data := tree.ParseObject(values[0].Value, kind, oid)
	if data == nil {
		return nil, record.Corrupt(key, "it is not the "+kind+" of that name")
	}
	return data, nil
}
