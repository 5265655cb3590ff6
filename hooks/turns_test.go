package hooks_test

import (
	"context"
	"sync"
	"testing"

	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/hooks"
)

// TestTurnsOfOneKey: however many deploys of one key are read and stored, or wait for that, those of another key go on
// beside them.
func TestTurnsOfOneKey(t *testing.T) {
	t.Parallel()
	const many, half = 20, 4
	s := newSite(t, defaultTarget)
	s.git(s.bare, "fetch", "-q", s.work, s.commit("file", "first")+":refs/heads/main")
	engine := hooks.NewEngine(s.config())
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var mu sync.Mutex
	var gives []func()
	for range many {
		all.Go(func() {
			give, err := engine.TakeTurn(ctx, "SHA256:crowd")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				gives = append(gives, give)
			}
		})
	}
	taken := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(gives)
	}
	fixture.Eventually(t, func() bool { return engine.AskedTurns("SHA256:crowd") == many && taken() == half })
	err := engine.Deploy(t.Context(), t.Context(), "config", s.bare, "",
		record.Pusher{Name: "ops", Key: "SHA256:ops", Via: "ssh"}, func(string) {})
	if err != nil {
		t.Error(err)
	}
	cancel()
	all.Wait()
	if taken() != half {
		t.Errorf("one key has %d turns, want %d", taken(), half)
	}
	for _, give := range gives {
		give()
	}
	for _, key := range []string{"SHA256:crowd", "SHA256:ops"} {
		if n := engine.AskedTurns(key); n != 0 {
			t.Errorf("%d turns of %s are left", n, key)
		}
	}
	give, err := engine.TakeTurns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	give()
}
