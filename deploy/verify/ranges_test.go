package verify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fault"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// ranging counts the ranges that are read with their values, and does something after keys were counted.
type ranging struct {
	held
	ranges  int
	counted func()
}

func (r *ranging) Read(ctx context.Context, at int64, queries []store.Query) ([][]store.KeyValue, int64, error) {
	found, at, err := r.held.Read(ctx, at, queries)
	switch {
	case queries[0].Count && r.counted != nil:
		r.counted()
	case queries[0].First > 0:
		r.ranges++
	}
	return found, at, err
}

// manyContents are contents in the order of their keys.
func manyContents(n int) (entries []tree.Entry, h held) {
	h = held{}
	for i := range n {
		text := fmt.Sprint("content ", i)
		sum := tree.NewContentHash(tree.FormatSHA1, int64(len(text)))
		_, _ = sum.Write([]byte(text))
		e := tree.Entry{Mode: filemode.Regular, OID: sum.OID(), Size: int64(len(text)), SHA256: sum.SHA256()}
		entries = append(entries, e)
		h[store.New(nil, namespace).ContentKey(e.SHA256)] = text
	}
	slices.SortFunc(entries, func(a, b tree.Entry) int { return strings.Compare(a.SHA256.String(), b.SHA256.String()) })
	return entries, h
}

// Contents that are a range of keys are read as one, and what is wrong with one is told as without it, whatever is
// beside them, or comes between.
func TestContentsOfARange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		change  func(h held, key func(int) string)
		counted func(h held, key func(int) string)
		wrong   []int
		ranges  int
	}{
		{name: "sound", ranges: 1},
		{name: "one is missing", change: func(h held, key func(int) string) {
			delete(h, key(7))
		}, wrong: []int{7}, ranges: 1},
		{name: "the last is missing", change: func(h held, key func(int) string) {
			delete(h, key(39))
		}, wrong: []int{39}, ranges: 1},
		{name: "two are changed", change: func(h held, key func(int) string) {
			h[key(0)], h[key(12)] = h[key(12)], "longer than before"
		}, wrong: []int{0, 12}, ranges: 1},
		{name: "another between", change: func(h held, key func(int) string) { h[key(7)+"/0"] = "x" }},
		{name: "another for one", change: func(h held, key func(int) string) {
			delete(h, key(7))
			h[key(7)+"/0"] = "x"
		}, wrong: []int{7}, ranges: 1},
		{name: "others come between", counted: func(h held, key func(int) string) {
			h[key(7)+"/0"], h[key(7)+"/1"] = "x", "x"
		}, ranges: 1},
		{name: "one goes meanwhile", counted: func(h held, key func(int) string) {
			delete(h, key(20))
		}, wrong: []int{20}, ranges: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entries, h := manyContents(40)
			reader := &ranging{held: h}
			chain := store.New(reader, namespace)
			key := func(i int) string { return chain.ContentKey(entries[i].SHA256) }
			if c.change != nil {
				c.change(h, key)
			}
			if c.counted != nil {
				reader.counted = func() { c.counted(h, key) }
			}
			told, wrong := 0, []int(nil)
			err := chain.CheckContents(t.Context(), entries, func(i int, err error) {
				if told++; err == nil {
					return
				}
				if wrong = append(wrong, i); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), key(i)) {
					t.Errorf("%d: %v", i, err)
				}
			})
			if err != nil || told != len(entries) || !slices.Equal(wrong, c.wrong) || reader.ranges != c.ranges {
				t.Errorf("%v: %d are told, wrong are %v, and not %v; %d ranges, not %d", err, told, wrong, c.wrong,
					reader.ranges, c.ranges)
			}
		})
	}
}
