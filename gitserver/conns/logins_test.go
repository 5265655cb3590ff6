package conns

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// listen takes connections into a table until the test ends, and reads what they send. Nothing is left of them then.
func listen(t *testing.T, limits Limits) (table *Table, addr string) {
	t.Helper()
	limits.LoginGrace = time.Minute
	none := func(fault.Reason) string { return "" }
	table = New(Config{Limits: limits, Log: slog.New(slog.DiscardHandler), Remedy: none, AskOperator: none})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if c := table.Enter(nc); c != nil {
				all.Go(func() {
					defer c.End()
					_, _ = io.Copy(io.Discard, c)
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		table.CloseAll()
		all.Wait()
		table.Wait()
		if n := len(table.books.by) + len(table.books.conns); n != 0 || table.books.all != (counts{}) {
			t.Errorf("left: %+v", table.books)
		}
	})
	return table, l.Addr().String()
}

// silent makes connections that say nothing.
func silent(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	all, err := fixture.Silent(addr, n, func(int) net.IP { return net.IPv4(127, 0, 0, 1) })
	t.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// until waits for what another goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// TestWhoGoesFirst: of those that have not logged in, a client that is in the middle of it goes after those that say
// nothing.
func TestWhoGoesFirst(t *testing.T) {
	table, addr := listen(t, Limits{Connections: 100, PerAddress: 8})
	speaks := silent(t, addr, 1)[0]
	if _, err := io.WriteString(speaks, "SSH-2.0-slow\r\n"); err != nil {
		t.Fatal(err)
	}
	until(t, "its version", func() bool {
		table.mu.Lock()
		defer table.mu.Unlock()
		for c := range table.books.conns {
			return c.progress() == 1
		}
		return false
	})
	quiet := silent(t, addr, 3)
	silent(t, addr, 3)
	until(t, "three dropped", func() bool { return table.Count().Dropped == 3 })
	for _, c := range quiet {
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Logf("a silent one: %v", err) // reset or closed
		}
	}
	if err := speaks.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, speaks); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the one that speaks was dropped: %v", err)
	}
}
