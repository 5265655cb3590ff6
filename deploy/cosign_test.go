package deploy_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
	"refship/deploy/transparency"
	"refship/deploy/witness"
)

// What was cosigned is stored if it is of the chain's log as it is, under a name that may be used. Else nothing is.
func TestCosignOfAnotherLog(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	for _, commit := range f.line("main", 3) {
		f.deploy(commit)
	}
	cp, err := f.chain.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cosign := func(change func(cp *transparency.Checkpoint), name string) error {
		of := cp.Checkpoint
		change(&of)
		note, err := witness.Cosign(of, name, fixture.Signer(5), time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.chain.Cosign(t.Context(), note, "w1")
		return err
	}
	as := func(*transparency.Checkpoint) {}
	before := f.dump()
	other := func(cp *transparency.Checkpoint) { cp.Root[0] ^= 1 }
	fixture.WantFault(t, fault.Corrupt, cosign(other, "w1"), "of deploy 3 that was cosigned is not one of", "")
	fixture.WantFault(t, fault.Corrupt, cosign(func(cp *transparency.Checkpoint) { cp.Chain = record.NewChainID() }, "w1"),
		"it is of another chain", "")
	fixture.WantFault(t, fault.Corrupt, cosign(func(cp *transparency.Checkpoint) { cp.Size = 2 }, "w1"), "the histories differ", "")
	if err := cosign(func(cp *transparency.Checkpoint) { cp.Size = 4 }, "w1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of a deploy that is not there: %v", err)
	}
	fixture.WantFault(t, fault.Refused, cosign(as, "x"), "the name x is another's", "")
	fixture.WantFault(t, fault.Refused, cosign(as, "w12"), "the name w12 is another's", "")
	for _, note := range []string{"", "x", string(cp.Signed), strings.Repeat("x", 5000)} {
		_, err := f.chain.Cosign(t.Context(), []byte(note), "w1")
		fixture.WantFault(t, fault.Refused, err, "read what was cosigned: ", "")
	}
	if !maps.Equal(before, f.dump()) {
		t.Error("something was stored")
	}
	if err := cosign(as, "w1"); err != nil || f.value(own+"cosignature/3/w1") == "" {
		t.Error(err)
	}
	if err := cosign(as, "w1"); err != nil {
		t.Error("again:", err)
	}
}

// A key that may only cosign cannot fill etcd: it has few names for each size, however many it asks for at once.
func TestCosignUnderManyNames(t *testing.T) {
	t.Parallel()
	f := newSetup(t)
	f.deploy(f.line("main", 1)[0])
	cp, err := f.chain.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cosign := func(name, by string) error {
		note, err := witness.Cosign(cp.Checkpoint, name, fixture.Signer(5), time.Unix(1_700_000_000, 0))
		if err != nil {
			return err
		}
		_, err = f.chain.Cosign(t.Context(), note, by)
		return err
	}
	var stored, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 3 * witness.MaxSuffixes {
		all.Go(func() {
			switch err := cosign(fmt.Sprintf("w1.%d", i), "w1"); {
			case err == nil:
				stored.Add(1)
			case fault.Is(err, fault.Refused) && strings.Contains(err.Error(), "as many cosignatures as one key may store"):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	there := slices.DeleteFunc(slices.Collect(maps.Keys(f.dump())), func(key string) bool {
		return !strings.Contains(key, "cosignature/1/w1.")
	})
	if len(there) != witness.MaxSuffixes || stored.Load() != witness.MaxSuffixes {
		t.Errorf("%d were stored, %d refused, and there are %q", stored.Load(), refused.Load(), there)
	}
	// What is there may be cosigned again; its own name, another key's, and who may write etcd are not concerned.
	_, again, _ := strings.Cut(there[0], "cosignature/1/")
	for _, one := range [][2]string{{again, "w1"}, {"w1", "w1"}, {"w2.0", "w2"}, {"w1.more", ""}} {
		if err := cosign(one[0], one[1]); err != nil {
			t.Error(one, err)
		}
	}
}
