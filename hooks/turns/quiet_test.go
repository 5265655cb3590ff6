package turns_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"refship/hooks/turns"
)

// Who wants to be alone waits for those that run, and keeps out nobody until then; who comes later waits until it is
// done. A wait ends with its context, and leaves nothing behind.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q turns.Quiet
		enter := func() func() {
			t.Helper()
			leave, err := q.Enter(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return leave
		}
		first := enter()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Alone(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("alone beside another: %v", err)
		}
		alone := make(chan func(), 1)
		go func() {
			done, err := q.Alone(t.Context())
			if err != nil {
				t.Error(err)
			}
			alone <- done
		}()
		synctest.Wait()
		second := enter()
		first()
		first() // once is enough
		synctest.Wait()
		if len(alone) != 0 {
			t.Fatal("alone beside the second one")
		}
		second()
		done := <-alone
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Enter(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("let in beside one that is alone: %v", err)
		}
		entered := make(chan func(), 1)
		go func() { entered <- enter() }()
		synctest.Wait()
		if len(entered) != 0 {
			t.Fatal("let in beside one that is alone")
		}
		done()
		(<-entered)()
		last, err := q.Alone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last()
	})
}
