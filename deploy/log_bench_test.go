package deploy_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkPublishInALongChain publishes into a chain of 10,000 deploys, and into one of 10, in turn. The metric "ratio"
// is the median time of the one by that of the other, "publish-ratio" that of the publishing txn alone. "backfill-ms" is
// what the first deploy took that put the log of the long chain there.
//
//	go test -run '^$' -bench LongChain -benchtime 200x ./deploy
func BenchmarkPublishInALongChain(b *testing.B) {
	short, long := newSetup(b), newSetup(b)
	sizes := map[*setup]int{short: 10, long: 10_000}
	deploys, publishes := map[*setup][]time.Duration{}, map[*setup][]time.Duration{}
	deploy := func(f *setup) {
		head, err := f.chain.Head(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		commit := f.repo.commit("next", files{"a": regular(fmt.Sprint(head.ID))}, head.Hash.OID())
		began := time.Now()
		p, lock := f.prepare(f.job(commit))
		if err := p.Upload(b.Context(), quiet); err != nil {
			b.Fatal(err)
		}
		uploaded := time.Now()
		if _, err := p.Publish(b.Context()); err != nil {
			b.Fatal(err)
		}
		deploys[f], publishes[f] = append(deploys[f], time.Since(began)), append(publishes[f], time.Since(uploaded))
		if err := lock.Unlock(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	for f, n := range sizes {
		f.older(n)
		deploy(f)
	}
	backfill := deploys[long][0]
	for f := range sizes {
		deploy(f)
		deploys[f], publishes[f] = nil, nil
	}
	for b.Loop() {
		deploy(short)
		deploy(long)
	}
	b.ReportMetric(float64(backfill.Milliseconds()), "backfill-ms")
	median := func(all []time.Duration) float64 { slices.Sort(all); return all[len(all)/2].Seconds() }
	b.ReportMetric(median(deploys[long])/median(deploys[short]), "ratio")
	b.ReportMetric(median(publishes[long])/median(publishes[short]), "publish-ratio")
	b.ReportMetric(median(deploys[long])*1000, "ms/deploy")
}
