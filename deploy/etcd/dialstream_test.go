package etcd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
	"refship/deploy/etcd/embedded"
	"refship/deploy/fault"
	"refship/deploy/fixture"
)

// line is a stream to an etcd's socket that can be cut on the other side.
type line struct {
	net.Conn
	cut    chan struct{}
	closed sync.Once
	isShut chan struct{}
}

func newLine(t *testing.T) *line {
	t.Helper()
	dir := fixture.ShortDir(t)
	fixture.StartEtcd(t, embedded.Config{Dir: dir})
	conn, err := net.Dial("unix", etcd.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	return &line{Conn: conn, cut: make(chan struct{}), isShut: make(chan struct{})}
}

// Read implements io.Reader.
func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	select {
	case <-l.cut:
		return 0, io.EOF
	default:
		return n, err
	}
}

// Close implements io.Closer.
func (l *line) Close() error {
	l.closed.Do(func() { close(l.isShut) })
	return l.Conn.Close()
}

// end cuts the line, as a process that exits does.
func (l *line) end() {
	close(l.cut)
	_ = l.Conn.Close()
}

// A stream that etcd's API is spoken on carries calls, watches and leases.
func TestDialStream(t *testing.T) {
	l := newLine(t)
	client, _, err := etcd.DialStream(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	kv := etcd.Bounded(client)
	watched := client.Watch(t.Context(), "key")
	if _, err := kv.Put(t.Context(), "key", "value"); err != nil {
		t.Fatal(err)
	}
	if seen := <-watched; len(seen.Events) != 1 || string(seen.Events[0].Kv.Value) != "value" {
		t.Errorf("the watch has seen %v", seen)
	}
	if got := string(valuesOf(t, client, []string{"key"})[0]); got != "value" {
		t.Errorf("read %q", got)
	}
	if _, err := etcd.Grant(t.Context(), client, 60); err != nil {
		t.Error(err)
	}
	if err := etcd.Ping(t.Context(), client); err != nil {
		t.Error(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	<-l.isShut // or the test does not end
}

// When the stream ends, what runs and what comes later fails at once, and the client does not connect again.
func TestStreamEnds(t *testing.T) {
	l := newLine(t)
	client, _, err := etcd.DialStream(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	watched := client.Watch(t.Context(), "key", clientv3.WithCreatedNotify())
	<-watched
	l.end()
	seen, ok := <-watched
	if !ok || !errors.Is(seen.Err(), etcd.ErrUnreachable) {
		t.Errorf("the watch has seen %v, %v", seen, ok)
	}
	for name, call := range map[string]func() error{
		"get":   func() error { _, err := etcd.Bounded(client).Get(t.Context(), "key"); return err },
		"raw":   func() error { _, err := client.Get(t.Context(), "key"); return err },
		"put":   func() error { _, err := etcd.Bounded(client).Put(t.Context(), "key", "value"); return err },
		"grant": func() error { _, err := etcd.Grant(t.Context(), client, 60); return err },
		"space": func() error { _, err := etcd.ReadSpace(t.Context(), client); return err },
		"ping":  func() error { return etcd.Ping(t.Context(), client) },
		"watch": func() error { seen := <-client.Watch(t.Context(), "key"); return seen.Err() },
	} {
		err := call()
		if !errors.Is(err, etcd.ErrUnreachable) || fault.KindOf(err) != fault.Unavailable || fault.RemedyOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	<-l.isShut
}

// Where nothing speaks etcd's API on the other side, DialStream says so, and closes the stream.
func TestDialStreamFails(t *testing.T) {
	for name, want := range map[string]struct {
		other    func(io.ReadWriteCloser)
		sentinel error
		words    string
	}{
		"closed": {func(conn io.ReadWriteCloser) { _ = conn.Close() }, etcd.ErrUnreachable,
			"the other side has closed the connection"},
		"no HTTP": {func(conn io.ReadWriteCloser) { _, _ = io.WriteString(conn, "Welcome to deploy.example!\n\n") },
			etcd.ErrUnreachable, "preface"},
		"nothing": {func(io.ReadWriteCloser) {}, context.DeadlineExceeded, "over a stream"},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer far.Close()
			come := make(chan struct{})
			go func() { // it reads to the end
				defer close(come)
				_, _ = io.ReadFull(far, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
				want.other(far)
				_, _ = io.Copy(io.Discard, far)
			}()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if errors.Is(want.sentinel, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
				defer cancel()
			}
			_, _, err := etcd.DialStream(ctx, near, nil)
			fixture.WantError(t, err, want.sentinel, want.words, "")
			<-come // near is closed
		})
	}
}
