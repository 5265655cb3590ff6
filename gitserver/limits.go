package gitserver

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"refship/deploy/text"
)

// Limits bound what clients can take. A zero field has the default that is said here.
type Limits struct {
	Connections           int           // at a time, in all: 1,000
	ConnectionsPerAddress int           // at a time, from one IPv4 address or one IPv6 network of 64 bits: 100
	LoginGrace            time.Duration // from the connection's beginning until a key has authenticated: 1 min
	MaxPack               int64         // bytes of one push's pack: 1 GiB
	// KeepAlive is how long a client that has authenticated may be silent before it is asked whether it is still there;
	// silent for three times that long, it counts as gone: 30 s
	KeepAlive time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Connections:           cmp.Or(l.Connections, 1000),
		ConnectionsPerAddress: cmp.Or(l.ConnectionsPerAddress, 100),
		LoginGrace:            cmp.Or(l.LoginGrace, time.Minute),
		MaxPack:               cmp.Or(l.MaxPack, 1<<30),
		KeepAlive:             cmp.Or(l.KeepAlive, 30*time.Second),
	}
}

const (
	maxSessions = 10 // in one connection
	// farewellTime is how long a client that is turned away has to read why.
	farewellTime = time.Second
	// maxFarewells is how many of those there are at a time; beyond it connections are just closed.
	maxFarewells = 32
)

// clientNetwork is what the connections of one client are counted by: an IPv4 address, or the 64 bits of an IPv6 address
// that name a network, in which a single host may take any address. What has no IP address is all counted as one.
func clientNetwork(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// take serves a connection, or turns it away.
func (s *Server) take(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := clientNetwork(nc.RemoteAddr())
	max, max1 := s.cfg.Limits.Connections, s.cfg.Limits.ConnectionsPerAddress
	switch {
	case len(s.conns) >= max:
		s.turnAway(nc, "--max-connections", max,
			fmt.Sprintf("refship: %s open, as many as this server takes: try again later", connectionsAre("", max)))
	case s.networks[from] >= max1:
		s.turnAway(nc, "--max-connections-per-address", max1,
			fmt.Sprintf("refship: %s open, as many as it may have: close one, "+
				"or ask who runs this server for a larger --max-connections-per-address", connectionsAre(" from your address", max1)))
	default:
		c := s.newConn(nc, from)
		s.conns[c] = struct{}{}
		s.networks[from]++
		s.handlers.Go(func() { s.handle(c) })
	}
}

func connectionsAre(whose string, n int) string {
	return text.Plural(n, "connection"+whose+" is", "connections"+whose+" are")
}

// leave takes a connection that has ended out of the books.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.networks[c.from]--; s.networks[c.from] == 0 {
		delete(s.networks, c.from)
	}
}

// turnAway tells a client why it is not served, without waiting for it.
func (s *Server) turnAway(nc net.Conn, flag string, limit int, why string) {
	if more, ok := s.floods.turnedAway.next(); ok {
		s.log.Warn("connection refused: too many are open", "address", nc.RemoteAddr().String(), "limit", limit, "flag", flag, "also_refused", more)
	}
	select {
	case s.farewells <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	s.handlers.Go(func() {
		defer func() { <-s.farewells }()
		farewell(nc, why)
	})
}

// disconnectMsg is SSH_MSG_DISCONNECT (RFC 4253, section 11.1).
type disconnectMsg struct {
	Reason   uint32 `sshtype:"1"`
	Text     string
	Language string
}

const tooManyConnections = 12 // SSH_DISCONNECT_TOO_MANY_CONNECTIONS

// farewell tells a client in the protocol's own way that it is not served. The message is allowed before the key exchange,
// and clients show it, which they do not with lines before the version.
func farewell(nc net.Conn, why string) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(farewellTime))
	payload := gossh.Marshal(&disconnectMsg{Reason: tooManyConnections, Text: why})
	if _, err := nc.Write(append([]byte("SSH-2.0-refship\r\n"), plainPacket(payload)...)); err != nil {
		return
	}
	// Closing with input unread makes the kernel reset the connection, and the client may lose what it has not read.
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(nc, 64<<10)) // until the client closes, or its time is over
	}
}

// plainPacket is SSH's binary packet (RFC 4253, section 6) before any key exchange: length, length of the padding, payload,
// padding, in all a multiple of 8 bytes.
func plainPacket(payload []byte) []byte {
	const block, header = 8, 5
	padding := block - (header+len(payload))%block
	if padding < 4 {
		padding += block
	}
	n := 1 + len(payload) + padding
	p := append([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), byte(padding)}, payload...)
	return append(p, make([]byte, padding)...)
}

// loginExpired ends a connection that did not authenticate in time. It says so where SSH lets it: to a client that is at
// authenticating, maybe waiting for a person at a passphrase.
func (s *Server) loginExpired(c *conn) {
	if c.authenticated.Load() {
		return
	}
	c.late.Store(true)
	if login := c.login.Load(); login != nil {
		c.SetWriteDeadline(time.Now().Add(farewellTime))
		_ = (*login).SendAuthBanner(fmt.Sprintf("refship: no login within %v: the connection is closed, try again\n", s.cfg.Limits.LoginGrace))
	}
	_ = c.Close()
}

// A flood of what somebody outside can bring about must not fill the log.
const (
	floodLines = 20
	floodTime  = 10 * time.Second
)

// floods has one for each kind.
type floods struct{ turnedAway, notAccepted, lateLogins, refusedKeys flood }

// flood lets a burst of log lines of one kind through and holds back the rest.
type flood struct {
	mu    sync.Mutex
	since time.Time
	lines int
	held  int
}

// next tells whether one more line may be written, and how many were held back before it.
func (f *flood) next() (held int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.since) > floodTime {
		f.since, f.lines = now, 0
	}
	if f.lines >= floodLines {
		f.held++
		return 0, false
	}
	f.lines++
	held, f.held = f.held, 0
	return held, true
}
