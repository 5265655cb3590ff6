package store

import (
	"context"
	"slices"
)

const (
	// scanTogether is how many keys are read together: of the largest contents that is 24 MiB.
	scanTogether = 16
	// listTogether is the same without values. etcd has them in its memory nevertheless.
	listTogether = 64
	// pagesInRange is how many pages of a range are read one after the other: for each page etcd goes through all of
	// the range's keys that are left, so that a range of 200,000 keys would take minutes. The rest is cut.
	pagesInRange = 8
	// maxCuts is how often a part of a range is cut again.
	maxCuts = 8
)

// Scan calls fn for each key of the namespace that begins with a prefix, in etcd's order: prefix is what follows NS,
// such as "/" or "/storage/". Keys that are put or deleted meanwhile may be among them or not.
func (c *Chain) Scan(ctx context.Context, prefix string, noValue bool, fn func(KeyValue)) error {
	from := string(c.ns) + prefix
	cuts := 1
	if prefix == "/" {
		cuts = 0
	}
	return c.scan(ctx, span{from, from, endOf(from)}, cuts, noValue, fn)
}

// countsTogether is how many counts are asked for together.
const countsTogether = 8

// Counts tells of prefixes, which follow NS, how many keys begin with each.
func (c *Chain) Counts(ctx context.Context, prefixes []string) (counts []int64, err error) {
	for some := range slices.Chunk(prefixes, countsTogether) {
		queries := make([]Query, len(some))
		for i, prefix := range some {
			queries[i] = Query{Key: string(c.ns) + prefix, Count: true}
		}
		found, _, err := c.reader.Read(ctx, 0, queries)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			counts = append(counts, one[0].Count)
		}
	}
	return counts, nil
}

// ScanBeside is Scan without those keys that begin with one of some longer prefixes, which are sorted; without values.
func (c *Chain) ScanBeside(ctx context.Context, prefix string, without []string, fn func(KeyValue)) error {
	begin := string(c.ns) + prefix
	at := begin
	for _, not := range append(slices.Clone(without), "") {
		end := string(c.ns) + not
		if not == "" {
			end = endOf(begin)
		}
		if err := c.scan(ctx, span{at, at, end}, maxCuts, true, fn); err != nil {
			return err
		}
		at = endOf(end)
	}
	return nil
}

// span is a range of keys: those from at to end, which is left out. All that comes before at was read.
type span struct{ prefix, at, end string }

// endOf is where the keys end that begin with a prefix, which does not end with the byte 255.
func endOf(prefix string) string {
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]+1)
}

// scan reads a span, the cuts-th part of a part.
func (c *Chain) scan(ctx context.Context, s span, cuts int, noValue bool, fn func(KeyValue)) error {
	together := scanTogether
	if noValue {
		together = listTogether
	}
	for pages := 0; ; pages++ {
		if parts := c.cut(s, cuts); pages == pagesInRange && len(parts) > 1 {
			for _, part := range parts {
				if err := c.scan(ctx, part, cuts+1, noValue, fn); err != nil {
					return err
				}
			}
			return nil
		}
		found, _, err := c.reader.Read(ctx, 0, []Query{{Key: s.at, End: s.end, First: together, NoValue: noValue}})
		if err != nil {
			return err
		}
		for _, kv := range found[0] {
			fn(kv)
		}
		if len(found[0]) < together {
			return nil
		}
		s.at = found[0][together-1].Key + "\x00"
	}
}

// cut cuts what is left of a span: first by the kinds of keys, and then by the next digit of the ids and hashes that
// name them.
func (c *Chain) cut(s span, cuts int) (parts []span) {
	var at []string
	switch {
	case cuts == 0:
		for _, kind := range []string{"/deploy/", "/fs/deploy/", "/refship/object/", "/refship/tree/", "/storage/{sha256}"} {
			at = append(at, string(c.ns)+kind, endOf(string(c.ns)+kind))
		}
	case cuts < maxCuts:
		for _, digit := range "0123456789abcdef" {
			at = append(at, s.prefix+string(digit))
		}
	}
	prefix := s.prefix
	for _, next := range append(at, s.end) {
		if next > s.at && next <= s.end {
			parts = append(parts, span{prefix, s.at, next})
			s.at = next
		}
		prefix = next
	}
	return parts
}
