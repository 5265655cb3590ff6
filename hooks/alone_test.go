package hooks_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// Work that must run alone, because etcd will not answer for a while, waits for pushes; and a push that comes then
// waits for it.
func TestAloneIsBesideNoPush(t *testing.T) {
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	s.commit("a.txt", "one\n")
	for _, step := range []string{"checked", "uploaded", "post-receive-start", "published"} {
		s.journal.When(step, func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if _, err := s.server.Alone(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("at %s: %v", step, err)
			}
		})
	}
	laptop.push("main").published(t, 1)

	done, err := s.server.Alone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ended atomic.Bool
	s.journal.When("pre-receive-start", func() {
		time.AfterFunc(300*time.Millisecond, func() {
			ended.Store(true)
			done()
		})
	})
	s.journal.When("checked", func() {
		if !ended.Load() {
			t.Error("the push has not waited")
		}
	})
	s.commit("a.txt", "two\n")
	laptop.push("main").published(t, 2)
	s.settled()
}
