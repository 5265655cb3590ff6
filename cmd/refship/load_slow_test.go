package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// slowLink is a line to the server that carries few bytes a second in each direction and buffers next to none, so that
// the server sees a client that reads and writes slowly.
type slowLink struct {
	net.Listener
	server string
	rate   int // bytes per second and direction
	limit  int // after so many bytes from the server nothing goes either way any more, and nothing is closed; 0: no limit

	ctx   context.Context // ends with everything on the line
	close context.CancelFunc
	slow  context.Context // ends with the slowness
	hurry context.CancelFunc
	all   sync.WaitGroup
}

// linkChunk is the largest piece that a line carries at once.
const linkChunk = 2 << 10

func (w *loadWorld) slowLink(rate, limit int) *slowLink {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	l := &slowLink{Listener: listener, server: w.address(), rate: rate, limit: limit}
	l.ctx, l.close = context.WithCancel(w.Context())
	l.slow, l.hurry = context.WithCancel(l.ctx)
	context.AfterFunc(l.ctx, func() { _ = listener.Close() })
	l.all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.all.Go(func() { l.carry(client) })
		}
	})
	w.Cleanup(l.cut)
	return l
}

// cut closes whatever still is on the line.
func (l *slowLink) cut() {
	l.close()
	l.all.Wait()
}

func (l *slowLink) url(repo string) string { return "ssh://git@" + l.Addr().String() + "/" + repo }

// carry connects one client with the server until one of them closes.
func (l *slowLink) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	defer server.Close()
	for _, conn := range []net.Conn{client, server} {
		if err := errors.Join(conn.(*net.TCPConn).SetReadBuffer(2*linkChunk),
			conn.(*net.TCPConn).SetWriteBuffer(2*linkChunk)); err != nil {
			return
		}
	}
	stop := context.AfterFunc(l.ctx, func() { client.Close(); server.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, 0); _ = server.(*net.TCPConn).CloseWrite() })
	both.Go(func() { l.copy(client, server, l.limit); _ = client.(*net.TCPConn).CloseWrite() })
	both.Wait()
}

// copy carries one direction at the line's rate.
func (l *slowLink) copy(dst io.Writer, src io.Reader, limit int) {
	buffer := make([]byte, linkChunk)
	for sum := 0; ; {
		n, err := src.Read(buffer)
		if n > 0 {
			hold(l.slow, time.Duration(n)*time.Second/time.Duration(l.rate))
			if _, err := dst.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
		if sum += n; limit > 0 && sum >= limit {
			<-l.ctx.Done() // not a byte more, and no end either
			return
		}
	}
}

// TestLoadSlowClients: some push and some clone over lines that are slow until the others have pushed, one stops
// reading for good in the middle; everybody else pushes as if they were not there, and the slow ones get done, too.
func TestLoadSlowClients(t *testing.T) {
	t.Parallel()
	const slow, size, rate = 4, 256 << 10, 8 << 10
	w := newLoadWorld(t)
	if err := os.WriteFile(w.in("work/noise"), noise(size), 0o644); err != nil { // it does not get smaller in a pack
		t.Fatal(err)
	}
	commit := w.commit("noise", 1)
	if err := w.push(); err != nil {
		t.Fatal(err)
	}
	names := w.repositories(slow)
	before := w.mustUse()
	stop := w.watchMemory(fmt.Sprintf("%d slow readers, %d slow writers", slow, slow))

	line, stuck := w.slowLink(rate, 0), w.slowLink(1<<20, size/2)
	var clients errgroup.Group
	var mu sync.Mutex
	var slowTimes []time.Duration
	client := func(i int, args ...string) {
		clients.Go(func() error {
			start := time.Now()
			cmd := exec.CommandContext(w.Context(), "git", args...)
			cmd.Env = w.client(i)
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			slowTimes = append(slowTimes, time.Since(start))
			if err != nil {
				return fmt.Errorf("git %q: %w\n%s", args, err, out)
			}
			return nil
		})
	}
	for i, name := range names {
		client(i, "-C", w.in("work"), "push", "-q", line.url(name), commit+":refs/heads/main")
		client(i, "clone", "-q", line.url("config"), w.in("clone-"+name))
	}
	lost := make(chan error, 1)
	go func() {
		cmd := exec.CommandContext(w.Context(), "git", "clone", "-q", stuck.url("config"), w.in("never"))
		cmd.Env = w.client(slow)
		lost <- cmd.Run()
	}()
	times := w.pushTimes(10)
	mu.Lock()
	done := len(slowTimes)
	mu.Unlock()
	line.hurry()
	if err := clients.Wait(); err != nil {
		t.Error(err)
	}
	if done == 2*slow {
		t.Errorf("no slow client was left when the others had pushed, in %s: nothing was shown", quantile(times, 1))
	}
	t.Logf("beside %d slow clients (which take %s) a push takes %s, at most %s (%d pushes)", 2*slow,
		quantile(slowTimes, 0.5), quantile(times, 0.5), quantile(times, 1), len(times))
	for _, name := range names {
		if noise, clone := readFile(t, w.in("work/noise")), readFile(t, w.in("clone-"+name+"/noise")); noise != clone {
			t.Errorf("the clone of %s is not what was pushed", name)
		}
	}
	w.bounded(stop(), maxMemorySlow)
	// A client that reads nothing counts as gone after a while, though the connection is still there.
	w.settles(before)
	select {
	case err := <-lost:
		t.Errorf("the clone that was stuck has ended: %v", err)
	default:
	}
	stuck.cut()
	if err := <-lost; err == nil {
		t.Error("the clone that was stuck has all")
	}
	for _, name := range names {
		if head := w.head(name); head != commit {
			t.Errorf("%s: the slow push is not deployed: the chain is at %q, want %s", name, head, commit)
		}
	}
}

// noise gives bytes that do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{})
	_, _ = source.Read(b) // never fails
	return b
}
