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
	network netip.Prefix    // what it is counted by
	raw     syscall.RawConn // nil if it is no TCP connection
	began   time.Time
	heard   atomic.Int64 // when the client last sent something, in nanoseconds since began

	loginTimer    *time.Timer                             // closes the connection unless a key authenticated before
	login         atomic.Pointer[gossh.ServerPreAuthConn] // from the end of the key exchange on
	late          atomic.Bool                             // loginTimer has fired
	authenticated atomic.Bool
	keeper        atomic.Pointer[keeper] // set with authenticated

	// Used by the handshake's goroutine only:
	refused []refusedKey
	asked   bool // mayAuthenticate was asked about the key that is being offered

	channels int // open session channels; under Server.mu
}

func (s *Server) newConn(nc net.Conn, network netip.Prefix) *conn {
	c := &conn{Conn: nc, network: network, began: time.Now()}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.loginTimer = time.AfterFunc(s.cfg.Limits.LoginGrace, func() { s.loginExpired(c) })
	return c
}

// smallRead is the size below which the client probably waits for an answer to what it sent.
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

// setAuthenticated takes the time limit off: a push may take hours, and a shared connection may idle.
func (c *conn) setAuthenticated() {
	c.authenticated.Store(true)
	c.loginTimer.Stop()
}

// stopTimers stops what watches the connection.
func (c *conn) stopTimers() {
	c.loginTimer.Stop()
	if k := c.keeper.Load(); k != nil {
		k.stop()
	}
}
