package conns

import (
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Conn is one client's connection.
type Conn struct {
	net.Conn
	t      *Table
	origin origin          // what it is counted by
	raw    syscall.RawConn // nil if it is no TCP connection
	began  time.Time
	heard  atomic.Int64 // when the client last sent something, in nanoseconds since began

	loginTimer    *time.Timer                             // closes the connection unless a key authenticated before
	login         atomic.Pointer[gossh.ServerPreAuthConn] // from the end of the key exchange on
	late          atomic.Bool                             // loginTimer has fired
	authenticated atomic.Bool                             // set under Table.mu
	keeper        atomic.Pointer[keeper]                  // set with authenticated

	// Under Table.mu:
	sessions int  // that are open
	dropped  bool // to make room for another
}

func (t *Table) newConn(nc net.Conn, from origin) *Conn {
	c := &Conn{Conn: nc, t: t, origin: from, began: time.Now()}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.loginTimer = time.AfterFunc(t.cfg.LoginGrace, c.loginExpired)
	return c
}

// smallRead is the size below which the client probably waits for an answer to what it sent.
const smallRead = 4 << 10

// Read acknowledges small packets at once. The client's next small packet otherwise waits (Nagle) for our delayed ACK,
// 40 ms each, and the SSH handshake has two such places. The kernel forgets the setting, so it is set again each time.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.began)))
	}
	if c.raw != nil && 0 < n && n < smallRead {
		quickAck(c.raw)
	}
	return n, err
}

// progress is how far a client is that has not authenticated: a client that connects and does nothing is at 0.
func (c *Conn) progress() int {
	switch {
	case c.login.Load() != nil:
		return 2
	case c.heard.Load() != 0:
		return 1
	}
	return 0
}

// silent is for how long the client has sent nothing.
func (c *Conn) silent() time.Duration { return time.Since(c.began) - time.Duration(c.heard.Load()) }

// stopTimers stops what watches the connection.
func (c *Conn) stopTimers() {
	c.loginTimer.Stop()
	if k := c.keeper.Load(); k != nil {
		k.stop()
	}
}

// SetLogin notes that client and server have agreed on keys: from now on the client is told when its time is over.
func (c *Conn) SetLogin(login gossh.ServerPreAuthConn) { c.login.Store(&login) }

// SetAuthenticated gives a connection a place that no other takes, and no time limit any more: a push may take hours,
// and a shared connection may idle. A client that is silent is asked by question, which returns when it has answered or
// its connection has ended. It is false if the connection was dropped.
func (c *Conn) SetAuthenticated(question func()) bool {
	t := c.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.dropped {
		return false
	}
	if c.authenticated.CompareAndSwap(false, true) {
		t.books.count(c, 0, -1)
	}
	c.loginTimer.Stop()
	t.watchSilence(c, question)
	return true
}

// IsAuthenticated tells whether a key has authenticated.
func (c *Conn) IsAuthenticated() bool { return c.authenticated.Load() }

// IsLate tells whether the connection was closed since no key had authenticated in time.
func (c *Conn) IsLate() bool { return c.late.Load() }

// IsDropped tells whether the connection was closed to make room for another.
func (c *Conn) IsDropped() bool {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	return c.dropped
}

// OpenSession counts a session; false if the connection has as many as it may have.
func (c *Conn) OpenSession() bool {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.sessions >= MaxSessions {
		return false
	}
	c.sessions++
	return true
}

// CloseSession counts a session's end.
func (c *Conn) CloseSession() {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.sessions--
}

// End takes a connection that has ended out of the table.
func (c *Conn) End() {
	c.stopTimers()
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	c.t.books.leave(c)
}

// loginExpired ends a connection that did not authenticate in time. It tells the client where SSH lets it: while the
// client authenticates, maybe waiting for a person at a passphrase.
func (c *Conn) loginExpired() {
	if c.authenticated.Load() {
		return
	}
	c.late.Store(true)
	if login := c.login.Load(); login != nil {
		c.SetWriteDeadline(time.Now().Add(farewellTime))
		_ = (*login).SendAuthBanner(fmt.Sprintf("refship: no login within %v: the connection is closed, try again\n",
			c.t.cfg.LoginGrace))
	}
	_ = c.Close()
}
