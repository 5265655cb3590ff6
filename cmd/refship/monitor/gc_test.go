package monitor

import (
	"testing"
	"time"
)

// What gc did is counted over all runs, and how it ended of the last one.
func TestCollected(t *testing.T) {
	t.Parallel()
	m := &Monitor{metrics: newMetrics(nil, "v1", "")}
	m.Collected(GC{Ended: time.Unix(100, 0), Deploys: 2, Keys: 10, Bytes: 1000, Won: 4096, Failed: 1})
	m.Collected(GC{Ended: time.Unix(200, 0), Deploys: 1, Keys: 5, Bytes: 500})
	got := values(t, m.metrics.registry, "refship_gc_")
	for name, want := range map[string]float64{
		"deploys_expired_total": 3, "keys_deleted_total": 15, "bytes_deleted_total": 1500, "etcd_won_bytes_total": 4096,
		"failed": 0, "last_run_timestamp_seconds": 200,
	} {
		if value, ok := got["refship_gc_"+name+"{}"]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	(*Monitor)(nil).Collected(GC{})
}
