package turns_test

import (
	"context"
	"testing"
	"testing/synctest"

	"refship/hooks/turns"
)

// One key has half of the turns at most, whatever it waits for, and another key goes on beside it. A run that wants all
// of them waits for those that have some, and for no others; and nothing is left when all have given theirs back.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := turns.New(0)
		gave := make(chan func(), 8)
		take := func(key string, n int64) {
			go func() {
				give, err := all.Take(t.Context(), key, n)
				if err != nil {
					t.Error(err)
				}
				gave <- give
			}()
		}
		for range 6 {
			take("crowd", 1)
		}
		synctest.Wait()
		if len(gave) != 4 || all.Asked("crowd") != 6 {
			t.Errorf("%d of one key have a turn, %d have asked", len(gave), all.Asked("crowd"))
		}
		take("other", 4)
		synctest.Wait()
		if len(gave) != 5 {
			t.Errorf("%d have turns", len(gave))
		}
		take("large", 8)
		synctest.Wait()
		for range 5 {
			(<-gave)()
			synctest.Wait()
		}
		if len(gave) != 1 { // the large one: the rest of the crowd comes after it
			t.Errorf("%d have turns after the first ones", len(gave))
		}
		(<-gave)()
		synctest.Wait()
		if len(gave) != 2 {
			t.Errorf("%d have turns in the end", len(gave))
		}
		(<-gave)()
		(<-gave)()
		for _, key := range []string{"crowd", "other", "large"} {
			if n := all.Asked(key); n != 0 {
				t.Errorf("%s has %d", key, n)
			}
		}
	})
}

// Who gives up waiting leaves nothing behind.
func TestTakeEnds(t *testing.T) {
	all := turns.New(1)
	give, err := all.Take(t.Context(), "a", 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, key := range []string{"a", "b"} {
		if _, err := all.Take(ctx, key, 1); err == nil {
			t.Errorf("%s has a second turn of one", key)
		}
	}
	give()
	if all.Asked("a")+all.Asked("b") != 0 {
		t.Error("somebody still waits")
	}
}

// With less memory there are fewer turns, and all of them together have all of it.
func TestMemory(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ memory, size, none, one, all int64 }{
		{0, 8, 0, 0, 0}, // any
		{10 * mib, 1, 10 * mib, 10 * mib, 10 * mib},
		{64 * mib, 1, turns.WithoutTurn, 64 * mib, 64 * mib},
		{192 * mib, 3, turns.WithoutTurn, 64 * mib, 192 * mib},
		{8192 * mib, 8, turns.WithoutTurn, 1024 * mib, 8192 * mib},
	} {
		all := turns.New(c.memory)
		none, one, every := all.Memory(0), all.Memory(1), all.Memory(all.Size())
		if all.Size() != c.size || none != c.none || one != c.one || every != c.all {
			t.Errorf("%d bytes: %d turns, %d, %d, %d", c.memory, all.Size(), none, one, every)
		}
	}
}
