package store

import (
	"context"
	"crypto/sha256"
	"slices"

	"golang.org/x/sync/errgroup"

	"refship/deploy/tree"
)

// Content is one to look for in etcd.
type Content struct {
	Keys   []string // that hold it, one after another
	Size   int64    // bytes
	SHA256 tree.SHA256
}

const (
	// readTogether is how many bytes of contents are read together, unless one has more.
	readTogether = 4 << 20
	// readsAtOnce is how many such reads are under way at once.
	readsAtOnce = 4
)

// AreStored tells of each content whether all its bytes are there, and are the right ones.
func (c *Chain) AreStored(ctx context.Context, contents []Content) ([]bool, error) {
	stored := make([]bool, len(contents))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for start := 0; start < len(contents); {
		end := togetherEnd(contents, start)
		some, found := contents[start:end], stored[start:end]
		group.Go(func() error {
			if len(some) == 1 {
				is, err := c.isStored(ctx, some[0])
				found[0] = is
				return err
			}
			return c.areStored(ctx, some, found)
		})
		start = end
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return stored, nil
}

// togetherEnd is where the contents end that are read together with contents[start], which may be alone.
func togetherEnd(contents []Content, start int) int {
	size, keys := int64(0), 0
	for end := start; end < len(contents); end++ {
		size += contents[end].Size
		keys += len(contents[end].Keys)
		if end > start && (size > readTogether || keys > MaxQueries) {
			return end
		}
	}
	return len(contents)
}

// areStored is AreStored of contents that are read together: found takes the answers.
func (c *Chain) areStored(ctx context.Context, contents []Content, found []bool) error {
	var keys []string
	for _, content := range contents {
		keys = append(keys, content.Keys...)
	}
	values, err := c.readKeys(ctx, keys)
	if err != nil {
		return err
	}
	for i, content := range contents {
		sum, whole := sha256.New(), true
		for range content.Keys {
			if whole = whole && len(values[0]) > 0; whole {
				sum.Write(values[0][0].Value)
			}
			values = values[1:]
		}
		found[i] = whole && tree.SHA256(sum.Sum(nil)) == content.SHA256
	}
	return nil
}

// isStored is AreStored of one content, which may be large: it is read in parts, and only up to the first wrong one.
func (c *Chain) isStored(ctx context.Context, content Content) (bool, error) {
	sum, left := sha256.New(), content.Size
	for start := 0; start < len(content.Keys); start += chunksAtOnce {
		keys := content.Keys[start:min(start+chunksAtOnce, len(content.Keys))]
		values, err := c.readKeys(ctx, keys)
		if err != nil {
			return false, err
		}
		for _, value := range values {
			if len(value) == 0 || int64(len(value[0].Value)) > left {
				return false, nil
			}
			sum.Write(value[0].Value)
			left -= int64(len(value[0].Value))
		}
	}
	return tree.SHA256(sum.Sum(nil)) == content.SHA256, nil
}

// Missing gives those of the keys that are not there.
func (c *Chain) Missing(ctx context.Context, keys []string) ([]string, error) {
	missing := make([][]string, (len(keys)+MaxQueries-1)/MaxQueries)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for i := range missing {
		some := keys[i*MaxQueries : min((i+1)*MaxQueries, len(keys))]
		group.Go(func() error {
			queries := make([]Query, len(some))
			for j, key := range some {
				queries[j] = Query{Key: key, NoValue: true}
			}
			found, _, err := c.reader.Read(ctx, 0, queries)
			for j := range found {
				if len(found[j]) == 0 {
					missing[i] = append(missing[i], some[j])
				}
			}
			return err
		})
	}
	err := group.Wait()
	return slices.Concat(missing...), err
}
