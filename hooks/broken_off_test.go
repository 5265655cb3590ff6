package hooks_test

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// A hook, git receive-pack or the client is killed at each step of a push: afterwards ref and chain agree, and nothing
// is left. (cmd/refship kills the server.)
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	before := []string{"pre-receive-start", "checked", "locked", "prepared", "uploaded", "intent-written"}
	after := []string{"post-receive-start", "published", "intent-removed"}
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	for i, step := range append(before, after...) {
		for _, victim := range []struct {
			name string
			kill func()
			sure bool // that the ref does not move before the intent is written
		}{
			{"hook", laptop.killHook, true},
			{"receive-pack", laptop.killReceivePack, true},
			{"client", laptop.killClient, false},
		} {
			t.Run(step+" "+victim.name, func(t *testing.T) {
				old := s.ref("refs/heads/main")
				head := s.commit("a.txt", fmt.Sprintf("%d %s\n", i, victim.name))
				var done atomic.Bool
				s.journal.When(step, func() { victim.kill(); done.Store(true) })
				r := laptop.push("main")
				if !done.Load() {
					t.Fatalf("the push did not come to %s", step)
				}
				now := s.ref("refs/heads/main")
				if hash, _ := s.head("/refship/config"); hash != now {
					t.Errorf("the ref is at %q, the chain at %q", now, hash)
				}
				switch {
				case i >= len(before):
					if now != head || r.outcome.Undeployed != nil {
						t.Errorf("the ref is at %s, want %s; outcome is %+v", now, head, r.outcome)
					}
				case victim.sure && now != old:
					t.Errorf("the ref moved from %s to %s", old, now)
				}
				s.settled()
			})
		}
	}
	laptop.push("main").ended(t, true, "nothing")
	s.settled()
}
