package deploy_test

import (
	"errors"
	"maps"
	"strings"
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
	mayUse := func(name string) bool { return strings.HasPrefix(name, "w") }
	cosign := func(change func(cp *transparency.Checkpoint), name string) error {
		of := cp.Checkpoint
		change(&of)
		note, err := witness.Cosign(of, name, fixture.Signer(5), time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.chain.Cosign(t.Context(), note, mayUse)
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
	for _, note := range []string{"", "x", string(cp.Signed), strings.Repeat("x", 5000)} {
		_, err := f.chain.Cosign(t.Context(), []byte(note), mayUse)
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
