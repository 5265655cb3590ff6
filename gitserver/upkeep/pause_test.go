package upkeep

import (
	"context"
	"errors"
	"testing"
	"time"

	"refship/deploy/fixture"
	"refship/deploy/git"
)

// TestPause: no upkeep begins in a pause, and it comes by itself afterwards. No pause begins in an upkeep.
func TestPause(t *testing.T) {
	g := fixture.NewRepository(t)
	g.Packs("main", maxPacks+1, git.OID{})
	now, cancel := context.WithCancelCause(t.Context())
	errBusy := errors.New("there is an upkeep")
	cancel(errBusy)
	k, log := keeper(t, func(k *Keeper) {
		k.firstPause = 100 * time.Millisecond
		k.cfg.Memory = func(context.Context, string) (int64, func(), error) {
			if _, err := Pause(now, g.Dir); !errors.Is(err, errBusy) {
				t.Errorf("a pause in an upkeep: %v", err)
			}
			return 64 << 20, func() {}, nil
		}
	})
	resume, err := Pause(t.Context(), g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	k.Enter("config", g.Dir)()
	fixture.Eventually(t, func() bool { return len(log.About("upkeep put off: a backup of it is being taken")) > 1 })
	if c := contentsOf(t, g); c.packs != maxPacks+1 {
		t.Errorf("in the pause: %+v", c)
	}
	resume()
	fixture.Eventually(t, func() bool { return k.Stats().Done == 1 })
	if s := k.Stats(); s.Failed > 0 {
		t.Errorf("%+v", s)
	}
}
