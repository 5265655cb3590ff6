package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/store"
)

func TestWithin(t *testing.T) {
	t.Parallel()
	client := fixture.NewEtcd(t).Client()
	for i := range 4 {
		if _, err := client.Put(t.Context(), fmt.Sprint("/refship/a/x", i), strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(chain *store.Chain) error {
		_, err := chain.Values(t.Context(), "/refship/a/x0")
		return err
	}
	all := store.Open(client, "/refship/a")
	some := all.Within(2500)
	for i, want := range []bool{true, true, false, false} {
		if err := read(some); (err == nil) != want || err != nil && !errors.Is(err, store.ErrTooMuch) {
			t.Errorf("read %d: %v", i, err)
		}
	}
	_, err := all.Within(2500).Values(t.Context(), "/refship/a/x0", "/refship/a/x1", "/refship/a/x2")
	if !errors.Is(err, store.ErrTooMuch) {
		t.Errorf("too much at once: %v", err)
	}
	if err := read(all); err != nil {
		t.Errorf("the chain itself has no bound: %v", err)
	}
}
