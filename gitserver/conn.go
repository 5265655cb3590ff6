package gitserver

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// conn is one client's connection.
type conn struct {
	net.Conn
	from  netip.Prefix    // what it is counted by
	raw   syscall.RawConn // nil if it is no TCP connection
	began time.Time
	heard atomic.Int64 // when the client last sent something, in nanoseconds since began

	grace         *time.Timer                             // closes the connection unless a key authenticated before
	login         atomic.Pointer[gossh.ServerPreAuthConn] // from the end of the key exchange on
	late          atomic.Bool                             // grace is over
	authenticated atomic.Bool
	keeper        atomic.Pointer[keeper] // set with authenticated

	// Used by the handshake's goroutine only:
	refused []offer // keys that were not accepted
	judged  bool    // mayTry has looked at the key that is being offered

	channels int // open session channels; under Server.mu
}

func (s *Server) newConn(nc net.Conn, from netip.Prefix) *conn {
	c := &conn{Conn: nc, from: from, began: time.Now()}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.grace = time.AfterFunc(s.cfg.Limits.LoginGrace, func() { s.loginExpired(c) })
	return c
}

// smallRead is what the other side is likely to wait for an answer to.
const smallRead = 4 << 10

// Read acknowledges small packets at once. The client's next small packet otherwise waits (Nagle) for our delayed ACK,
// 40 ms each, and the SSH handshake has two such places. The kernel forgets the setting, so it is set again each time.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.began)))
	}
	if c.raw != nil && 0 < n && n < smallRead {
		quickAck(c.raw)
	}
	return n, err
}

// silent is for how long the client has sent nothing.
func (c *conn) silent() time.Duration { return time.Since(c.began) - time.Duration(c.heard.Load()) }

// authenticate takes the time limit off: a push may take hours, and a shared connection may idle.
func (c *conn) authenticate() {
	c.authenticated.Store(true)
	c.grace.Stop()
}

// end stops what watches the connection.
func (c *conn) end() {
	c.grace.Stop()
	if k := c.keeper.Load(); k != nil {
		k.stop()
	}
}
