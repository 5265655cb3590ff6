package monitor

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What a scrub found is counted, and told where the readiness is asked for; it is ready all the same.
func TestScrubbed(t *testing.T) {
	t.Parallel()
	m := &Monitor{health: newHealth(Config{}), metrics: newMetrics(nil, "v1", "")}
	readyz := answer("readyz", []probe{{"scrub", m.health.probeScrub}})
	if _, body := get(readyz, "/readyz?verbose"); body != "[+]scrub ok\nreadyz check passed\n" {
		t.Errorf("before the first: %s", body)
	}
	m.Scrubbed(Scrub{Ended: time.Unix(100, 0), Keys: 10, Bytes: 1000, Repaired: 2, Failed: 1,
		Warnings: []error{errors.New("/a: 2 keys were damaged"), errors.New("/b: 1 key")}})
	status, body := get(readyz, "/readyz?verbose")
	if want := "[!]scrub warning: /a: 2 keys were damaged\n[!]scrub warning: /b: 1 key\n"; status != 200 ||
		!strings.HasPrefix(body, want) {
		t.Errorf("%d %s", status, body)
	}
	m.Scrubbed(Scrub{Ended: time.Unix(200, 0), Keys: 5, Bytes: 500})
	if status, body := get(readyz, "/readyz?verbose"); status != 200 || !strings.HasPrefix(body, "[+]scrub ok\n") {
		t.Errorf("%d %s", status, body)
	}
	got := values(t, m.metrics.registry, "refship_scrub_")
	for name, want := range map[string]float64{
		"keys_read_total": 15, "bytes_read_total": 1500, "damaged_total": 3, "repaired_total": 2, "failed": 0,
		"last_run_timestamp_seconds": 200,
	} {
		if value, ok := got["refship_scrub_"+name+"{}"]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	(*Monitor)(nil).Scrubbed(Scrub{})
}
