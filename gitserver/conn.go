package gitserver

import (
	"net"
	"sync/atomic"
	"syscall"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// conn is one client's connection.
type conn struct {
	net.Conn
	raw           syscall.RawConn // nil if it is no TCP connection
	handshake     *time.Timer     // closes the connection unless a key authenticated before
	authenticated atomic.Bool
	refused       []offer // keys that are not known; used by the handshake's goroutine only

	channels int // open session channels; under Server.mu
}

// offer is a key that a client offered, with the user name it gave.
type offer struct {
	user string
	key  gossh.PublicKey
}

func newConn(c net.Conn, handshake time.Duration) *conn {
	k := &conn{Conn: c, handshake: time.AfterFunc(handshake, func() { _ = c.Close() })}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			k.raw = raw
		}
	}
	return k
}

// smallRead is what the other side is likely to wait for an answer to.
const smallRead = 4 << 10

// Read acknowledges small packets at once. The client's next small packet otherwise waits (Nagle) for our delayed ACK,
// 40 ms each, and the SSH handshake has two such places. The kernel forgets the setting, so it is set again each time.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.raw != nil && 0 < n && n < smallRead {
		quickAck(c.raw)
	}
	return n, err
}

// authenticate takes the time limit off: a push may take hours, and a shared connection may idle.
func (c *conn) authenticate() {
	c.authenticated.Store(true)
	c.handshake.Stop()
}
