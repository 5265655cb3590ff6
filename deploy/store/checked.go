package store

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"refship/deploy/fault"
	"refship/deploy/tree"
)

// CheckContents reads contents, many at a time, and compares each with what its entry names: size, sha256 and oid. each
// is told of every one, by its index, one after the other: nil, or a fault.Corrupt that names the key.
func (c *Chain) CheckContents(ctx context.Context, entries []tree.Entry, each func(i int, wrong error)) error {
	var telling sync.Mutex
	tell := func(i int, wrong error) {
		telling.Lock()
		defer telling.Unlock()
		each(i, wrong)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for start := 0; start < len(entries); {
		at, end, held := start, start, int64(0)
		for end < len(entries) && end-at < filesAtOnce && entries[end].Size <= tree.ChunkSize &&
			held+entries[end].Size <= readTogether {
			held += entries[end].Size
			end++
		}
		if end > at {
			group.Go(func() error { return c.checkSmall(ctx, entries[at:end], at, tell) })
			start = end
			continue
		}
		group.Go(func() error {
			err := c.content(ctx, entries[at], io.Discard)
			if err != nil && !fault.Is(err, fault.Corrupt) {
				return err
			}
			tell(at, err)
			return nil
		})
		start++
	}
	return group.Wait()
}

// checkSmall is CheckContents of some that are read together; the first has the index at.
func (c *Chain) checkSmall(ctx context.Context, entries []tree.Entry, at int, tell func(int, error)) error {
	keys := make([]string, len(entries))
	for i := range entries {
		keys[i] = c.ContentKey(entries[i].SHA256)
	}
	found, err := c.readKeys(ctx, keys)
	if err != nil {
		return fmt.Errorf("read contents: %w", err)
	}
	for i, e := range entries {
		value, err := valueOf(keys[i], e.Size, found[i])
		if err == nil {
			sum := tree.NewContentHash(e.OID.Format(), e.Size)
			_, _ = sum.Write(value) // a hash never fails
			err = c.checkContent(e, sum)
		}
		tell(at+i, err)
	}
	return nil
}
