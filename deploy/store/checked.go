package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
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
	all := batches(entries)
	if err := c.findRanges(ctx, entries, all); err != nil {
		return fmt.Errorf("read contents: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readsAtOnce)
	for _, b := range all {
		if entries[b.at].Size <= tree.ChunkSize {
			group.Go(func() error { return c.checkSmall(ctx, entries, b, tell) })
			continue
		}
		group.Go(func() error {
			err := c.content(ctx, entries[b.at], io.Discard)
			if err != nil && !fault.Is(err, fault.Corrupt) {
				return err
			}
			tell(b.at, err)
			return nil
		})
	}
	return group.Wait()
}

// batch are contents that are read together, those from at up to end, or a large one alone.
type batch struct {
	at, end int
	isRange bool // there are no other keys between theirs
}

// checkedTogether bounds how many small contents are read together.
const checkedTogether = MaxQueries

func batches(entries []tree.Entry) (all []batch) {
	for at := 0; at < len(entries); {
		end, held := at, int64(0)
		for end < len(entries) && end-at < checkedTogether && entries[end].Size <= tree.ChunkSize &&
			held+entries[end].Size <= readTogether {
			held += entries[end].Size
			end++
		}
		end = max(end, at+1)
		all = append(all, batch{at: at, end: end})
		at = end
	}
	return all
}

// rangeFrom is how many keys are worth to be counted.
const rangeFrom = 16

// findRanges finds the batches whose keys are a range of etcd's, which it reads in half the time. It asks how many keys
// there are: of more, the others may be large.
func (c *Chain) findRanges(ctx context.Context, entries []tree.Entry, all []batch) error {
	var some []*batch
	for i := range all {
		b := &all[i]
		if b.end-b.at >= rangeFrom && slices.IsSortedFunc(entries[b.at:b.end], bySum) {
			some = append(some, b)
		}
	}
	for some := range slices.Chunk(some, MaxQueries) {
		queries := make([]Query, len(some))
		for i, b := range some {
			queries[i] = c.rangeOf(entries[b.at:b.end])
			queries[i].First, queries[i].Count = 0, true
		}
		found, _, err := c.reader.Read(ctx, 0, queries)
		if err != nil {
			return err
		}
		for i, b := range some {
			b.isRange = found[i][0].Count <= int64(b.end-b.at)
		}
	}
	return nil
}

func bySum(a, b tree.Entry) int { return bytes.Compare(a.SHA256[:], b.SHA256[:]) }

// rangeOf asks for the keys of small contents, which are sorted, and for those between them.
func (c *Chain) rangeOf(entries []tree.Entry) Query {
	first, last := c.ContentKey(entries[0].SHA256), c.ContentKey(entries[len(entries)-1].SHA256)
	return Query{Key: first, End: last + "\x00", First: len(entries)}
}

// readRange is readKeys of the keys of a range, which may have changed since it was found.
func (c *Chain) readRange(ctx context.Context, entries []tree.Entry, keys []string) ([][]KeyValue, error) {
	answers, _, err := c.reader.Read(ctx, 0, []Query{c.rangeOf(entries)})
	if err != nil {
		return nil, err
	}
	there := make(map[string][]KeyValue, len(keys))
	for i, kv := range answers[0] {
		there[kv.Key] = answers[0][i : i+1]
	}
	found := make([][]KeyValue, len(keys))
	var lacking []int // missing, or other keys have come between since they were counted
	for i, key := range keys {
		if found[i] = there[key]; found[i] == nil {
			lacking = append(lacking, i)
		}
	}
	if len(lacking) == 0 {
		return found, nil
	}
	some := make([]string, len(lacking))
	for i, at := range lacking {
		some[i] = keys[at]
	}
	again, err := c.readKeys(ctx, some)
	for i := 0; err == nil && i < len(some); i++ {
		found[lacking[i]] = again[i]
	}
	return found, err
}

// checkSmall is CheckContents of some that are read together.
func (c *Chain) checkSmall(ctx context.Context, entries []tree.Entry, b batch, tell func(int, error)) error {
	entries = entries[b.at:b.end]
	keys := make([]string, len(entries))
	for i := range entries {
		keys[i] = c.ContentKey(entries[i].SHA256)
	}
	read := c.readKeys
	if b.isRange {
		read = func(ctx context.Context, keys []string) ([][]KeyValue, error) { return c.readRange(ctx, entries, keys) }
	}
	found, err := read(ctx, keys)
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
		tell(b.at+i, err)
	}
	return nil
}
