package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// mostOwn is what the server may take itself for a push of one file, however large that is. 32 MiB are in flight: 4
// batches of 1 MiB, and etcd's copies of them.
const mostOwn = 100<<20 + 32<<20

// Pushing large files takes little of the server's own memory, apart from what etcd maps of its database, which the
// kernel takes back when it needs it.
func TestMemoryOfLargePush(t *testing.T) {
	own, mapped := pushLarge(newLoadWorld(t), 96<<20)
	t.Logf("the server's own memory: %d MiB at most; of etcd's database it mapped %d MiB", own>>20, mapped>>20)
}

// BenchmarkMemoryOfLargePush is the long form, within the same bound.
func BenchmarkMemoryOfLargePush(b *testing.B) {
	w := newLoadWorld(b)
	for b.Loop() {
		own, mapped := pushLarge(w, 400<<20)
		b.ReportMetric(float64(own>>20), "MiB-own")
		b.ReportMetric(float64(mapped>>20), "MiB-mapped")
	}
}

// pushLarge pushes one file, and then that file with one more line, and gives what the server had in memory at most, of
// its own and of etcd's database.
func pushLarge(w *loadWorld, size int) (own, mapped int64) {
	w.Helper()
	file := make([]byte, size)
	_, _ = rand.Read(file)
	peak := watchMemory(w, w.server.cmd.Process.Pid)
	for i, change := range []string{"", "a line\n"} {
		file = append(file, change...)
		if err := os.WriteFile(w.in("work/large"), file, 0o644); err != nil {
			w.Fatal(err)
		}
		w.must("git", "-C", w.in("work"), "-c", "core.compression=0", "add", ".")
		w.must("git", "-C", w.in("work"), "commit", "-q", "-m", fmt.Sprint(i))
		if got := w.pushTo(w.Context(), 0, w.in("work"), w.url, "HEAD:refs/heads/main"); got.err != nil {
			w.Fatalf("push %d: %v\n%s", i, got.err, got.told)
		}
	}
	own, mapped = peak()
	if own > mostOwn {
		w.Errorf("the server's own memory was %d bytes, want %d at most", own, mostOwn)
	}
	return own, mapped
}

var memoryLines = regexp.MustCompile(`(?m)^RssAnon:\s+(\d+) kB\nRssFile:\s+(\d+) kB$`)

// watchMemory looks at what a process has in memory, of its own and mapped from files (proc(5)), until the function
// that it gives is called, which tells the largest of each in bytes.
func watchMemory(t testing.TB, pid int) (peak func() (own, mapped int64)) {
	t.Helper()
	var ownPeak, mappedPeak int64
	look := func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return err
		}
		match := memoryLines.FindSubmatch(text)
		if match == nil {
			return fmt.Errorf("no memory in:\n%s", text)
		}
		own, _ := strconv.ParseInt(string(match[1]), 10, 64)
		mapped, _ := strconv.ParseInt(string(match[2]), 10, 64)
		ownPeak, mappedPeak = max(ownPeak, own<<10), max(mappedPeak, mapped<<10)
		return nil
	}
	stop := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				if err := look(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	return func() (own, mapped int64) {
		close(stop)
		ended.Wait()
		return ownPeak, mappedPeak
	}
}
