package store_test

import (
	"fmt"
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
		for _, hint := range []string{"", "garbage", "-1", "1e3", "18446744073709551615", "18446744073709551616", "9223372036854775807", " 1"} {
			b.keys[own+"head"] = hint
			if id, reads := b.head(t); int(id) != length || reads > 12 {
				t.Errorf("%d deploys, hint %q: head %d in %d reads", length, hint, id, reads)
			}
		}
	}
}

func TestHeadOfALongChainCostsTwoReads(t *testing.T) {
	b := newBundle()
	const length = 3000
	for id := 1; id <= length; id++ {
		b.foreign(id)
	}
	b.keys[own+"head"] = fmt.Sprint(length)
	if id, reads := b.head(t); id != length || reads != 2 {
		t.Errorf("head %d in %d reads", id, reads)
	}
	b.keys[own+"head"] = "1"
	if id, reads := b.head(t); id != length || reads > 15 {
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
	d, err := chain.NewestRecord(t.Context(), head)
	if err != nil || d == nil || d.ID != 1 || b.reads > 100 {
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
	delete(b.keys, namespace+"/deploy/20/payload")
	b.keys[own+"head"] = "70"
	err := chain.Log(t.Context(), 0, func(*record.Deploy) error { return nil })
	if want := "verify " + namespace + "/deploy/20/record: the deploy is missing, a later one is there"; !fault.Is(err, fault.Corrupt) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
