package verify_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"refship/deploy/fixture"
	"refship/deploy/store"
	"refship/deploy/tree"
)

// BenchmarkBesideReading verifies a chain, and reads all keys of the namespace as fast as they can be read, key by key
// and by ranges, one after the other. The metrics are medians of so many rounds: milliseconds of processor time and of
// elapsed time, with the etcd's own work in both, and "ratio", verify's by that of reading key by key. Processor time
// is less disturbed by a machine's other work. "hash" is sha256 and sha1 of as many bytes, in memory.
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
			bytes := 0
			for _, size := range sizes {
				bytes += size
			}
			var byKeys, byRanges, verify, hash times
			for b.Loop() {
				byKeys.add(b, func() { f.readAll(keys, sizes, f.readKeys) })
				byRanges.add(b, func() { f.readAll(keys, sizes, f.readRange) })
				verify.add(b, func() {
					v, err := runVerify(b.Context(), store.Open(f.remote, f.ns))
					if err != nil || v.Findings != 0 {
						b.Fatal(v.findings(), err)
					}
				})
				hash.add(b, func() { hashAll(bytes) })
			}
			byKeys.report(b, "read")
			byRanges.report(b, "ranges")
			verify.report(b, "verify")
			hash.report(b, "hash")
			b.ReportMetric(median(verify.cpu)/median(byKeys.cpu), "cpu-ratio")
			b.ReportMetric(median(verify.elapsed)/median(byKeys.elapsed), "ratio")
			b.ReportMetric(float64(len(keys)), "keys")
		})
	}
}

// times are what each round took, in milliseconds.
type times struct{ cpu, elapsed []float64 }

func (t *times) add(b *testing.B, do func()) {
	b.Helper()
	began, cpu := time.Now(), cpuTime(b)
	do()
	t.cpu = append(t.cpu, float64((cpuTime(b)-cpu).Microseconds())/1000)
	t.elapsed = append(t.elapsed, float64(time.Since(began).Microseconds())/1000)
}

func (t *times) report(b *testing.B, name string) {
	b.Helper()
	b.ReportMetric(median(t.cpu), "cpu-ms/"+name)
	b.ReportMetric(median(t.elapsed), "ms/"+name)
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

// hashAll takes the hashes of so many bytes, 1 MiB after the other.
func hashAll(bytes int) {
	part, sum := make([]byte, 1<<20), tree.NewContentHash(tree.FormatSHA1, int64(bytes))
	for ; bytes > 0; bytes -= len(part) {
		_, _ = sum.Write(part[:min(bytes, len(part))])
	}
	_, _ = sum.OID(), sum.SHA256()
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

// readAll reads sorted keys, 128 or 4 MiB together, in four reads at a time.
func (f *setup) readAll(keys []string, sizes map[string]int, read func(context.Context, []string) error) {
	f.Helper()
	group, ctx := errgroup.WithContext(f.Context())
	group.SetLimit(4)
	for start := 0; start < len(keys); {
		end, held := start, 0
		for end < len(keys) && end-start < store.MaxQueries && (end == start || held+sizes[keys[end]] <= 4<<20) {
			held += sizes[keys[end]]
			end++
		}
		some := keys[start:end]
		group.Go(func() error { return read(ctx, some) })
		start = end
	}
	if err := group.Wait(); err != nil {
		f.Fatal(err)
	}
}

func (f *setup) readKeys(ctx context.Context, keys []string) error {
	_, err := store.Open(f.remote, f.ns).Values(ctx, keys...)
	return err
}

// readRange reads keys that are all of a range.
func (f *setup) readRange(ctx context.Context, keys []string) error {
	found, err := f.remote.Get(ctx, keys[0], clientv3.WithRange(keys[len(keys)-1]+"\x00"))
	if err == nil && len(found.Kvs) != len(keys) {
		err = fmt.Errorf("%d keys are there, not %d", len(found.Kvs), len(keys))
	}
	return err
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
