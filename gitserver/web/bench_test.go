package web_test

import (
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"refship/deploy/fixture"
	"refship/deploy/fixture/chain"
)

// BenchmarkLongChain measures pages of a chain of 10,000 signed deploys, from the request to the last byte: "ms" is the
// median, and "cpu-ms" what this process, with its etcd, has had of all processors for one.
//
//	go test -run '^$' -bench LongChain ./gitserver/web
func BenchmarkLongChain(b *testing.B) {
	s := newSite(b)
	chain.PutHistory(b, s.Client, s.Namespace, 10_000)
	for name, path := range map[string]string{
		"chains":   "/",
		"first":    config,
		"middle":   config + "?from=5000",
		"path":     config + "?path=dir3/file",
		"person":   config + "?by=nobody",
		"since":    config + "?since=2023-11-15",
		"commit":   config + "?commit=" + chain.HistoryCommit(1).String(),
		"deploy":   config + "/-/deploy/5000",
		"compare":  config + "/-/compare?from=1&to=10000",
		"one-file": config + "/-/deploy/5000/files/dir3",
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			before := fixture.CPUTime(b, os.Getpid())
			for b.Loop() {
				began := time.Now()
				if status, body, _ := s.do(http.MethodGet, path); status != http.StatusOK {
					b.Fatalf("%d %s", status, body)
				}
				took = append(took, time.Since(began))
			}
			spent := fixture.CPUTime(b, os.Getpid()) - before
			b.ReportMetric(spent.Seconds()*1e3/float64(len(took)), "cpu-ms")
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}
