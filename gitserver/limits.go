package gitserver

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// Limits bound what clients can take. A zero field has the default that is said here.
type Limits struct {
	Connections           int           // at a time, in all: 1,000
	ConnectionsPerAddress int           // at a time, from one IPv4 address or one IPv6 network of 64 bits: 100
	LoginGrace            time.Duration // from the connection's beginning until a key has authenticated: 1 min
	MaxPack               int64         // bytes of one push's pack: 1 GiB
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Connections:           cmp.Or(l.Connections, 1000),
		ConnectionsPerAddress: cmp.Or(l.ConnectionsPerAddress, 100),
		LoginGrace:            cmp.Or(l.LoginGrace, time.Minute),
		MaxPack:               cmp.Or(l.MaxPack, 1<<30),
	}
}

// maxSessions is how many sessions one connection may have at a time.
const maxSessions = 10

// clientNetwork is what the connections of one client are counted by: an IPv4 address, or the 64 bits of an IPv6
// address that name a network, in which a single host may take any address. All that has no IP address counts as one.
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

// admit serves a connection, or turns it away.
func (s *Server) admit(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	network := clientNetwork(nc.RemoteAddr())
	inAll, perAddress := s.cfg.Limits.Connections, s.cfg.Limits.ConnectionsPerAddress
	switch {
	case len(s.conns) >= inAll:
		s.turnAway(nc, ReasonConnections, inAll,
			fmt.Sprintf("refship: %s open, as many as this server takes: try again later",
				text.Plural(inAll, "connection is", "connections are")))
	case s.networks[network] >= perAddress:
		s.turnAway(nc, ReasonConnectionsPerAddress, perAddress,
			fmt.Sprintf("refship: %s open, as many as it may have: close one, or %s",
				text.Plural(perAddress, "connection from your address is", "connections from your address are"),
				s.askOperator(ReasonConnectionsPerAddress)))
	default:
		c := s.newConn(nc, network)
		s.conns[c] = struct{}{}
		s.networks[network]++
		s.handlers.Go(func() { s.serveConn(c) })
	}
}

// forget takes a connection that has ended out of the books.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.networks[c.network]--; s.networks[c.network] == 0 {
		delete(s.networks, c.network)
	}
}

// turnAway tells a client why it is not served, without waiting for it.
func (s *Server) turnAway(nc net.Conn, reason fault.Reason, limit int, why string) {
	if more, ok := s.floods.turnedAway.next(); ok {
		s.log.Warn("connection refused: too many are open", "address", nc.RemoteAddr().String(),
			"limit", limit, "remedy", s.words(reason), "also_refused", more)
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

// loginExpired ends a connection that did not authenticate in time. It tells the client where SSH lets it: while the
// client authenticates, maybe waiting for a person at a passphrase.
func (s *Server) loginExpired(c *conn) {
	if c.authenticated.Load() {
		return
	}
	c.late.Store(true)
	if login := c.login.Load(); login != nil {
		c.SetWriteDeadline(time.Now().Add(farewellTime))
		_ = (*login).SendAuthBanner(fmt.Sprintf("refship: no login within %v: the connection is closed, try again\n",
			s.cfg.Limits.LoginGrace))
	}
	_ = c.Close()
}

// What outsiders can cause must not fill the log.
const (
	floodLines = 20
	floodTime  = 10 * time.Second
)

// floods has one for each kind of line.
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
