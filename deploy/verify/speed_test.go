package verify_test

import (
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"refship/deploy/fixture"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// BenchmarkBesideReading verifies a chain, and reads all keys of the namespace as fast as they can be read; the metric
// "ratio" is the time of the one by that of the other, of alternating runs. "cpu-ratio" is the same in processor time,
// with the etcd's, which a machine that has other work disturbs less; what it is made of stands beside it.
func BenchmarkBesideReading(b *testing.B) {
	for _, c := range []struct {
		name                 string
		deploys, files, size int
	}{
		{"one-deploy-of-10000-files", 1, 10_000, 8 << 10},
		{"300-deploys-of-one-change", 300, 200, 4 << 10},
		{"large-files", 1, 40, 5 << 20},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newSetup(b, namespace)
			f.many(c.deploys, c.files, c.size)
			keys, sizes := f.sizes()
			var reading, verifying, readCPU, verifyCPU time.Duration
			for b.Loop() {
				began, beganCPU := time.Now(), cpuTime(b)
				f.readAll(keys, sizes)
				read, afterCPU := time.Now(), cpuTime(b)
				v, err := runVerify(b.Context(), store.Open(f.remote, f.ns))
				if err != nil || v.Findings != 0 {
					b.Fatal(v.findings(), err)
				}
				reading, verifying = reading+read.Sub(began), verifying+time.Since(read)
				readCPU, verifyCPU = readCPU+afterCPU-beganCPU, verifyCPU+cpuTime(b)-afterCPU
			}
			b.ReportMetric(verifying.Seconds()/reading.Seconds(), "ratio")
			b.ReportMetric(verifyCPU.Seconds()/readCPU.Seconds(), "cpu-ratio")
			b.ReportMetric(float64(verifying.Milliseconds())/float64(b.N), "ms/verify")
			b.ReportMetric(float64(reading.Milliseconds())/float64(b.N), "ms/read")
			b.ReportMetric(float64(verifyCPU.Milliseconds())/float64(b.N), "cpu-ms/verify")
			b.ReportMetric(float64(readCPU.Milliseconds())/float64(b.N), "cpu-ms/read")
			b.ReportMetric(float64(len(keys)), "keys")
		})
	}
}

// many makes deploys of a tree of files, of which each later one changes one.
func (f *setup) many(deploys, count, size int) {
	f.Helper()
	all := files{}
	for i := range count {
		all[fmt.Sprintf("%02d/%02d/%d", i%50, i%20, i)] = fixture.Content(i, size)
	}
	var parents []tree.OID
	for i := range deploys {
		all["00/00/0"] = fixture.Content(1_000_000+i, size)
		commit := f.commit(fmt.Sprint(i), all, parents...)
		f.deploy(commit)
		parents = []tree.OID{commit}
	}
}

func (f *setup) sizes() (keys []string, sizes map[string]int) {
	f.Helper()
	sizes = map[string]int{}
	for key, value := range f.held() {
		sizes[key] = len(value)
	}
	return slices.Sorted(maps.Keys(sizes)), sizes
}

// readAll reads keys, 64 or 4 MiB together, in four reads at a time.
func (f *setup) readAll(keys []string, sizes map[string]int) {
	f.Helper()
	chain := store.Open(f.remote, f.ns)
	group, ctx := errgroup.WithContext(f.Context())
	group.SetLimit(4)
	for start := 0; start < len(keys); {
		end, held := start, 0
		for end < len(keys) && end-start < 64 && (end == start || held+sizes[keys[end]] <= 4<<20) {
			held += sizes[keys[end]]
			end++
		}
		some := keys[start:end]
		group.Go(func() error {
			_, err := chain.Values(ctx, some...)
			return err
		})
		start = end
	}
	if err := group.Wait(); err != nil {
		f.Fatal(err)
	}
}

// cpuTime is the processor time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
