package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// Ratios within one run hold where absolute times drift from machine to machine. Run them alone:
//
//	go test -run '^$' -bench . ./cmd/refship

// BenchmarkPushBesideIdle compares a one-file push alone with one beside idle connections, in turns.
func BenchmarkPushBesideIdle(b *testing.B) {
	w := newLoadWorld(b)
	w.commit("first", 3)
	if err := w.push(); err != nil {
		b.Fatal(err)
	}
	const pushes = 5 // of each kind in a turn
	var alone, beside []time.Duration
	for b.Loop() {
		alone = append(alone, w.pushTimes(pushes)...)
		idle := w.idle(idleConnections)
		beside = append(beside, w.pushTimes(pushes)...)
		for _, c := range idle {
			if err := useIdle(c); err != nil {
				b.Fatal(err)
			}
			_ = c.Close()
		}
	}
	a, s := quantile(alone, 0.5), quantile(beside, 0.5)
	b.ReportMetric(a.Seconds()*1e3, "ms-alone")
	b.ReportMetric(s.Seconds()*1e3, "ms-beside")
	b.ReportMetric(s.Seconds()/a.Seconds(), "beside/alone")
	b.ReportMetric(0, "ns/op") // of a whole turn: says nothing
}

// BenchmarkPushAgainstLocalPath compares pushes into many repositories at once through the server, which deploys them,
// with the same pushes of git by itself into bare repositories on the same disk, without a server and as safe on disk.
func BenchmarkPushAgainstLocalPath(b *testing.B) {
	const repositories = 16
	w := newLoadWorld(b)
	w.commit("first", 3)
	names := w.repositories(repositories)
	for _, name := range names {
		bare := w.in("bare-" + name)
		w.must("git", "init", "-q", "--bare", bare)
		for _, setting := range []string{"core.fsync=committed,reference", "receive.unpackLimit=1", "receive.autogc=false"} {
			key, value, _ := strings.Cut(setting, "=")
			w.must("git", "-C", bare, "config", key, value)
		}
	}
	var server, path time.Duration
	turns := 0
	for b.Loop() {
		w.commit(fmt.Sprintf("turn %d", turns), 1)
		server += w.pushAll(names, func(name string) string { return strings.TrimSuffix(w.world.url, "config") + name })
		path += w.pushAll(names, func(name string) string { return w.in("bare-" + name) })
		turns++
	}
	for _, name := range names {
		if head := w.head(name); head != w.must("git", "-C", w.in("bare-"+name), "rev-parse", "refs/heads/main") {
			b.Errorf("%s: the chain is at %s, which is not what was pushed", name, head)
		}
	}
	pushes := float64(turns * repositories)
	b.ReportMetric(pushes/server.Seconds(), "pushes/s")
	b.ReportMetric(pushes/path.Seconds(), "pushes/s-path")
	b.ReportMetric(server.Seconds()/path.Seconds(), "server/path")
	b.ReportMetric(0, "ns/op") // of a whole turn: says nothing
}

// pushAll pushes to all repositories at once, and gives how long it took until the last was done.
func (w *loadWorld) pushAll(names []string, url func(name string) string) time.Duration {
	w.Helper()
	start := time.Now()
	var group errgroup.Group
	for i, name := range names {
		group.Go(func() error {
			cmd := exec.CommandContext(w.Context(), "git", "-C", w.in("work"), "push", "-q", url(name), "main")
			cmd.Env = w.client(i)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("push to %s: %w\n%s", url(name), err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		w.Fatal(err)
	}
	return time.Since(start)
}
