package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/store"
)

// foreign puts another writer's deploy.
func (b *bundle) foreign(id int) { b.keys[fmt.Sprintf("%s/deploy/%d/payload", namespace, id)] = "p" }

// head finds the head, and tells in how many reads.
func (b *bundle) head(t *testing.T) (id record.ID, reads int) {
	t.Helper()
	before := b.reads
	d, err := store.New(b, namespace).Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d != nil {
		id = d.ID
	}
	return id, b.reads - before
}

func TestHeadOfEveryLengthWithEveryHint(t *testing.T) {
	b := newBundle()
	if id, reads := b.head(t); id != 0 || reads != 2 {
		t.Errorf("empty chain: head %d in %d reads", id, reads)
	}
	for length := 1; length <= 70; length++ {
		b.foreign(length)
		delete(b.keys, own+"head")
		if id, reads := b.head(t); int(id) != length || reads > 12 {
			t.Errorf("%d deploys, no hint: head %d in %d reads", length, id, reads)
		}
		for hint := range length + 3 {
			if length%23 != 0 && hint%9 != 0 && hint < length-2 {
				continue // a sample of the lagging ones
			}
			b.keys[own+"head"] = fmt.Sprint(hint)
			id, reads := b.head(t)
			if int(id) != length || reads > 12 || hint == length && reads != 2 {
				t.Errorf("%d deploys, hint %d: head %d in %d reads", length, hint, id, reads)
			}
		}
		for _, hint := range []string{"", "garbage", "-1", "1e3", "18446744073709551615", "18446744073709551616",
			"9223372036854775807", " 1"} {
			b.keys[own+"head"] = hint
			if id, reads := b.head(t); int(id) != length || reads > 12 {
				t.Errorf("%d deploys, hint %q: head %d in %d reads", length, hint, id, reads)
			}
		}
	}
}

func TestHeadOfALongChainCostsTwoReads(t *testing.T) {
	b := newBundle()
	const length = 600
	for id := 1; id <= length; id++ {
		b.foreign(id)
	}
	b.keys[own+"head"] = fmt.Sprint(length)
	if id, reads := b.head(t); id != length || reads != 2 {
		t.Errorf("head %d in %d reads", id, reads)
	}
	b.keys[own+"head"] = "1"
	if id, reads := b.head(t); id != length || reads > 13 {
		t.Errorf("head %d in %d reads", id, reads)
	}
	// The newest record below many foreign deploys is found in batches.
	chain := store.New(b, namespace)
	b.deploy(t, chain, 1, 0, dir{})
	head, err := chain.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.reads = 0
	d, _, err := chain.NewestRecord(t.Context(), head)
	if err != nil || d == nil || d.ID != 1 || b.reads > 20 {
		t.Errorf("newest record %+v in %d reads, %v", d, b.reads, err)
	}
}

func TestHeadWhileRevisionsAreCompacted(t *testing.T) {
	b := newBundle()
	b.foreign(1)
	b.compacted = 3
	if id, reads := b.head(t); id != 1 || b.compacted != 0 || reads < 8 {
		t.Errorf("head %d in %d reads", id, reads)
	}
}

func TestLogTellsTheNewestFirst(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	logged := func(limit int) (ids []int) {
		err := chain.Log(t.Context(), limit, func(d *record.Deploy) error {
			ids = append(ids, int(d.ID))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	if ids := logged(0); ids != nil {
		t.Errorf("log of nothing: %v", ids)
	}
	var want []int
	for id := 1; id <= 70; id++ {
		b.foreign(id)
		want = append([]int{id}, want...)
	}
	for _, limit := range []int{0, 1, 32, 33, 70, 71} {
		all := want
		if limit > 0 {
			all = want[:min(limit, 70)]
		}
		if diff := cmp.Diff(all, logged(limit)); diff != "" {
			t.Errorf("log of %d (-want +got):\n%s", limit, diff)
		}
	}
}

// Deploys that are missing below the head are damage of their own, and those around them are told all the same.
func TestLogTellsWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		missing   []int  // of 70 deploys, the lowest and the highest
		hint      string // at the head
		wantHead  int
		wantLines int
	}{
		"one":                  {missing: []int{20, 20}, hint: "70", wantHead: 70, wantLines: 70},
		"a batch and more":     {missing: []int{10, 60}, hint: "70", wantHead: 70, wantLines: 70},
		"all but the newest":   {missing: []int{1, 69}, hint: "70", wantHead: 70, wantLines: 70},
		"one, and the hint":    {missing: []int{3, 3}, wantHead: 70, wantLines: 70},
		"some, and the hint":   {missing: []int{30, 40}, wantHead: 70, wantLines: 70},
		"the newest":           {missing: []int{70, 70}, hint: "70", wantHead: 69, wantLines: 69},
		"one of a lagging one": {missing: []int{20, 20}, hint: "18", wantHead: 70, wantLines: 70},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle()
			chain := store.New(b, namespace)
			for id := 1; id <= 70; id++ {
				if id < c.missing[0] || id > c.missing[1] {
					b.foreign(id)
				}
			}
			if c.hint != "" {
				b.keys[own+"head"] = c.hint
			}
			if id, _ := b.head(t); int(id) != c.wantHead {
				t.Errorf("head %d, want %d", id, c.wantHead)
			}
			next := record.ID(c.wantHead)
			err := chain.Log(t.Context(), 0, func(d *record.Deploy) error {
				missing := int(d.ID) >= c.missing[0] && int(d.ID) <= c.missing[1]
				if d.ID != next || (d.Damage != nil) != missing || missing != d.IsMissing() {
					t.Errorf("deploy %d, want %d: missing %t, %v", d.ID, next, d.IsMissing(), d.Damage)
				}
				next--
				return nil
			})
			if lines := c.wantHead - int(next); err != nil || lines != c.wantLines {
				t.Errorf("%d deploys, %v", lines, err)
			}
			want := store.ErrNotFound.Error()
			if c.missing[1] < c.wantHead {
				want = fmt.Sprintf("verify %s/deploy/%d/record: deploy %[2]d is missing, a later one is there", namespace,
					c.missing[0])
			}
			if _, err := chain.Get(t.Context(), record.ID(c.missing[0])); err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
}

// An id far above all others is put easily: nobody counts down to the others.
func TestAGapIsWalkedSoFar(t *testing.T) {
	b := newBundle()
	chain := store.New(b, namespace)
	b.deploy(t, chain, 1, 0, dir{})
	const far = 1 << 50
	b.foreign(far)
	b.keys[own+"head"] = fmt.Sprint(far)
	head, err := chain.Head(t.Context())
	if err != nil || head.ID != far {
		t.Fatal(head, err)
	}
	b.reads = 0
	newest, damaged, err := chain.NewestRecord(t.Context(), head)
	if err != nil || newest != nil || damaged == nil || damaged.ID != far-1 || b.reads > 40 {
		t.Errorf("newest record %+v, damaged %+v, in %d reads, %v", newest, damaged, b.reads, err)
	}
	lines := 0
	err = chain.Log(t.Context(), 0, func(*record.Deploy) error { lines++; return nil })
	if !fault.Is(err, fault.Corrupt) ||
		!strings.Contains(err.Error(), "deploys are missing; what is below was not read") ||
		lines < 1000 || lines > 1100 {
		t.Errorf("%d deploys, %v", lines, err)
	}
}
