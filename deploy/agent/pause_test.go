package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"refship/deploy/agent"
	"refship/deploy/etcd"
	"refship/deploy/record"
)

// An etcd that is away for an hour is asked for some 120 times, and never goes unasked for longer than 45 seconds: a
// node costs nearly nothing meanwhile, and is back soon. The hour is a clock's that the test turns.
func TestEtcdIsAwayForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var asked []time.Time
		a, err := agent.New(agent.Config{
			Root: t.TempDir(), Link: "current", Name: "n1", MaxFailures: -1, Log: slog.New(slog.DiscardHandler),
			Remedy: func(error) string { return "" },
			Dial: func(context.Context) (*etcd.Client, record.Namespace, error) {
				asked = append(asked, time.Now())
				return nil, "", errors.Join(errors.New("dial"), etcd.ErrUnreachable)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(asked) < 80 || len(asked) > 250 { // a pause is of 15 to 45 seconds in the end
			t.Errorf("etcd was asked for %d times in an hour", len(asked))
		}
		if first := asked[1].Sub(asked[0]); first > time.Second {
			t.Errorf("the second time was %s after the first", first)
		}
		for i := range asked[1:] {
			if pause := asked[i+1].Sub(asked[i]); pause > 45*time.Second {
				t.Errorf("etcd was not asked for for %s", pause)
			}
		}
		t.Logf("asked %d times", len(asked))
	})
}
