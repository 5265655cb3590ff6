package agent_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"refship/deploy/etcd"
	"refship/deploy/fixture"
	"refship/deploy/record"
)

// BenchmarkSwitch measures how long it takes from the record's time of a deploy of one changed file until a node runs
// it, and, in turns with it, what cp takes to copy the same directory:
//
//   - small: 3 files
//   - large: 20,000 files of 10 KiB, some 200 MB
//
// cp alone writes into memory, and a release is on disk when it runs: the copy that is on disk, too, is synced with
// sync -f. Only a ratio of two medians of one run says something. Run it alone:
//
//	go test -run '^$' -bench Switch -benchtime 5x ./deploy/agent
func BenchmarkSwitch(b *testing.B) {
	b.Run("small", func(b *testing.B) { benchSwitch(b, 3, 100) })
	b.Run("large", func(b *testing.B) { benchSwitch(b, 20_000, 10<<10) })
}

func benchSwitch(b *testing.B, files, size int) {
	f := newBenchFleet(b)
	root := *fleetRoots
	if root == "" {
		root = b.TempDir()
	}
	root, err := os.MkdirTemp(root, "node")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(root) }) // --fleet.roots may be no directory of the test's own
	all := map[string]fixture.File{}
	for i := range files {
		all[fmt.Sprintf("d%d/f%d", i/100, i)] = fixture.File{Content: fixture.Content(i, size)}
	}
	number := 0
	publish := func() *record.Deploy {
		number++
		all["d0/f0"] = fixture.File{Content: fmt.Sprint("number ", number)}
		return f.publishFiles(all)
	}
	f.run(root, "n", func(context.Context) (*etcd.Client, error) { return f.connect() })
	f.all(1, publish())
	var switched, copied, synced, switchCPU, copyCPU []time.Duration
	for b.Loop() {
		benchSync(b, root)
		d, cpu := publish(), fixture.CPUTime(b, os.Getpid())
		switched = append(switched, f.all(1, d)[0])
		switchCPU = append(switchCPU, fixture.CPUTime(b, os.Getpid())-cpu)
		benchSync(b, root)
		start, to := time.Now(), filepath.Join(root, "copy")
		cmd := exec.Command("cp", "-a", "--reflink=auto", filepath.Join(root, "current")+"/", to)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		copied = append(copied, time.Since(start))
		benchSync(b, root)
		synced = append(synced, time.Since(start))
		copyCPU = append(copyCPU, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		if err := os.RemoveAll(to); err != nil {
			b.Fatal(err)
		}
	}
	s, c, d := quantile(switched, 0.5), quantile(copied, 0.5), quantile(synced, 0.5)
	b.ReportMetric(s.Seconds()*1e3, "ms-switch")
	b.ReportMetric(quantile(switched, 0).Seconds()*1e3, "ms-switch-least")
	b.ReportMetric(c.Seconds()*1e3, "ms-cp")
	b.ReportMetric(d.Seconds()*1e3, "ms-cp-sync")
	b.ReportMetric(s.Seconds()/c.Seconds(), "switch/cp")
	b.ReportMetric(s.Seconds()/d.Seconds(), "switch/cp-sync")
	b.ReportMetric(quantile(switchCPU, 0.5).Seconds()*1e3, "cpu-ms-switch")
	b.ReportMetric(quantile(copyCPU, 0.5).Seconds()*1e3, "cpu-ms-cp")
	b.ReportMetric(0, "ns/op") // of a whole turn: says nothing
}

// benchSync puts all of a file system on disk.
func benchSync(b *testing.B, dir string) {
	b.Helper()
	if out, err := exec.Command("sync", "-f", dir).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
}
