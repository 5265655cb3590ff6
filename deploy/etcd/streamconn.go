package etcd

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// StreamConn is a net.Conn over a stream of bytes in both directions, such as a process's standard input and output, or
// a channel of SSH. The stream's Close must make its Read and Write return. A deadline that passes closes it: what uses
// a deadline here does nothing else after it.
type StreamConn struct {
	stream io.ReadWriteCloser
	ended  context.Context // its cause says why the connection ended
	end    context.CancelCauseFunc

	mu     sync.Mutex
	timers [2]*time.Timer // of the deadlines of Read and Write

	closeOnce sync.Once
	closeErr  error
}

// NewStreamConn makes a connection of a stream.
func NewStreamConn(stream io.ReadWriteCloser) *StreamConn {
	c := &StreamConn{stream: stream}
	c.ended, c.end = context.WithCancelCause(context.Background())
	return c
}

// Done is closed when the connection has ended: a Read or Write has failed, or it is closed.
func (c *StreamConn) Done() <-chan struct{} { return c.ended.Done() }

// Err says why the connection ended, nil while it stands: io.EOF if the other side has closed it, net.ErrClosed if this
// side has.
func (c *StreamConn) Err() error { return context.Cause(c.ended) }

// Read implements net.Conn.
func (c *StreamConn) Read(b []byte) (int, error) {
	n, err := c.stream.Read(b)
	if err != nil {
		c.end(err)
	}
	return n, err
}

// Write implements net.Conn.
func (c *StreamConn) Write(b []byte) (int, error) {
	n, err := c.stream.Write(b)
	if err != nil {
		c.end(err)
	}
	return n, err
}

// Close implements net.Conn. It closes the stream once.
func (c *StreamConn) Close() error {
	c.closeOnce.Do(func() {
		c.end(net.ErrClosed)
		c.setTimers(time.Time{}, 0, 1)
		c.closeErr = c.stream.Close()
	})
	return c.closeErr
}

// LocalAddr implements net.Conn.
func (c *StreamConn) LocalAddr() net.Addr { return streamAddr{} }

// RemoteAddr implements net.Conn.
func (c *StreamConn) RemoteAddr() net.Addr { return streamAddr{} }

// SetDeadline implements net.Conn.
func (c *StreamConn) SetDeadline(t time.Time) error { c.setTimers(t, 0, 1); return nil }

// SetReadDeadline implements net.Conn.
func (c *StreamConn) SetReadDeadline(t time.Time) error { c.setTimers(t, 0); return nil }

// SetWriteDeadline implements net.Conn.
func (c *StreamConn) SetWriteDeadline(t time.Time) error { c.setTimers(t, 1); return nil }

func (c *StreamConn) setTimers(t time.Time, which ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range which {
		if c.timers[i] != nil {
			c.timers[i].Stop()
			c.timers[i] = nil
		}
		if !t.IsZero() && c.ended.Err() == nil {
			c.timers[i] = time.AfterFunc(time.Until(t), func() {
				c.end(os.ErrDeadlineExceeded)
				_ = c.Close() // there is nobody to tell
			})
		}
	}
}

// streamAddr is the address of both ends: a stream has none.
type streamAddr struct{}

// Network implements net.Addr.
func (streamAddr) Network() string { return "stream" }

// String implements net.Addr.
func (streamAddr) String() string { return "stream" }

// oneListener gives one connection.
type oneListener struct {
	conn   *StreamConn
	mu     sync.Mutex
	given  bool
	closed chan struct{}
	once   sync.Once
}

// Listener gives the connection to the first Accept. The next one waits until the connection has ended, or the listener
// is closed, and gives net.ErrClosed.
func (c *StreamConn) Listener() net.Listener {
	return &oneListener{conn: c, closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *oneListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	given := l.given
	l.given = true
	l.mu.Unlock()
	if !given {
		return l.conn, nil
	}
	select {
	case <-l.conn.Done():
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener. The connection stays as it is.
func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *oneListener) Addr() net.Addr { return streamAddr{} }
