package deploy_test

import (
	"errors"
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// A chain goes whole, and nothing else does; a lock that was lost and a hold keep it.
func TestDelete(t *testing.T) {
	f := newSetup(t)
	commit := f.repo.commit("one", files{"a": regular("a"), "d/b": regular("b")})
	f.deploy(commit)
	ns := string(f.chain.Namespace())
	f.put(ns+"/elsewhere", "another's")
	f.put(ns+"-more/deploy/1/hash", "another chain's")
	lock := func() *deploy.Lock {
		t.Helper()
		l, err := f.chain.Lock(t.Context(), record.Holder{User: "ops"}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	lost := lock()
	f.delete(f.chain.Key("lock"))
	before := len(f.dump())
	if err := f.chain.Delete(t.Context(), lost); !errors.Is(err, deploy.ErrLockLost) {
		t.Error(err)
	}
	if err := f.chain.Hold(t.Context(), &record.Hold{User: "eve"}); err != nil {
		t.Fatal(err)
	}
	held := lock()
	fixture.WantFault(t, fault.Conflict, f.chain.Delete(t.Context(), held), "is on hold", "")
	if err := held.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if now := len(f.dump()); now < before {
		t.Errorf("%d keys of %d are left", now, before)
	}
	if _, err := f.chain.Resume(t.Context(), &record.Event{User: "eve"}, false); err != nil {
		t.Fatal(err)
	}
	if err := f.chain.Delete(t.Context(), lock()); err != nil {
		t.Fatal(err)
	}
	for key := range f.dump() {
		if strings.HasPrefix(key, ns+"/") && key != ns+"/elsewhere" {
			t.Errorf("%s is left", key)
		}
	}
	if n := len(f.dump()); n != 2 {
		t.Errorf("%d keys are left, want 2", n)
	}
	if d := f.deploy(commit); d.ID != 1 {
		t.Errorf("the next deploy is %d", d.ID)
	}
}
