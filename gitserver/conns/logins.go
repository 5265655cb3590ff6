package conns

import (
	"fmt"
	"net"
	"net/netip"

	"refship/deploy/text"
)

// A client that has not authenticated costs a connection and may be anybody. So those have budgets of their own, below
// those of all connections, and none of them keeps another client out:
//
//	in all                       half of Limits.Connections
//	one network, /24 or /48      half of that
//	one address, /32 or /64      half of Limits.PerAddress
//
// Where one of these, or the limit of all connections or of an address, is reached, a new connection takes the place of
// one that has not authenticated, of the same address or network where that is what is full, else of the network that
// has most of them: first of a client that has sent nothing, then of one that has not agreed on keys yet, of these the
// one that has been there longest. A client that logs in needs a fraction of a second, and a silent one is the first to
// go. A client that has authenticated keeps its place; only where all have, a new client is turned away.
//
// This is stricter against silence than the random early drop of sshd's MaxStartups, which drops new connections, and
// with them those of users, as soon as enough silent ones are there.

// origin is where a connection comes from, as connections are counted. All that has no IP address has one origin.
type origin struct {
	address netip.Prefix // an IPv4 address, or the 64 bits of an IPv6 address in which a single host may take any
	network netip.Prefix // the 24 or 48 bits that a site usually has
}

func originOf(a net.Addr) origin {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return origin{}
	}
	ip := at.Addr().Unmap().WithZone("")
	address, network := 64, 48
	if ip.Is4() {
		address, network = 32, 24
	}
	return origin{netip.PrefixFrom(ip, address).Masked(), netip.PrefixFrom(ip, network).Masked()}
}

// counts are the connections from somewhere.
type counts struct {
	all     int
	strange int // that have not authenticated
}

// books are the connections, counted. Under Table.mu.
type books struct {
	conns map[*Conn]struct{}
	all   counts
	by    map[netip.Prefix]counts // addresses and networks
}

func newBooks() books {
	return books{conns: map[*Conn]struct{}{}, by: map[netip.Prefix]counts{}}
}

// count adds to what is counted of a connection.
func (b *books) count(c *Conn, all, strange int) {
	add := func(n counts) counts { return counts{n.all + all, n.strange + strange} }
	b.all = add(b.all)
	for _, from := range []netip.Prefix{c.origin.address, c.origin.network} {
		if n := add(b.by[from]); n == (counts{}) {
			delete(b.by, from)
		} else {
			b.by[from] = n
		}
		if c.origin.address == c.origin.network { // neither is known
			break
		}
	}
}

func (b *books) enter(c *Conn) {
	b.conns[c] = struct{}{}
	b.count(c, 1, 1)
}

// leave takes a connection out, if it is in.
func (b *books) leave(c *Conn) {
	if _, in := b.conns[c]; !in {
		return
	}
	delete(b.conns, c)
	strange := -1
	if c.authenticated.Load() {
		strange = 0
	}
	b.count(c, -1, strange)
}

// leastOf is the connection without a login that goes first, among those for which of is true; nil if there is none.
func (b *books) leastOf(of func(origin) bool) *Conn {
	var least *Conn
	for c := range b.conns {
		if c.authenticated.Load() || !of(c.origin) {
			continue
		}
		if least == nil || c.progress() < least.progress() ||
			c.progress() == least.progress() && c.began.Before(least.began) {
			least = c
		}
	}
	return least
}

// leastOfCrowd is leastOf within the network that has most connections without a login.
func (b *books) leastOfCrowd() *Conn {
	var crowded netip.Prefix
	for c := range b.conns {
		if at := c.origin.network; b.by[at].strange > b.by[crowded].strange {
			crowded = at
		}
	}
	return b.leastOf(func(o origin) bool { return o.network == crowded })
}

// Enter takes a connection in, or turns it away: nil. Its End has to be called.
func (t *Table) Enter(nc net.Conn) *Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := originOf(nc.RemoteAddr())
	inAll, perAddress := t.cfg.Connections, t.cfg.PerAddress
	strangers := max(1, inAll/2)
	address, network := t.books.by[from.address], t.books.by[from.network]
	if address.all >= perAddress || address.strange >= max(1, perAddress/2) {
		least := t.books.leastOf(func(o origin) bool { return o.address == from.address })
		if !t.drop(least) {
			t.turnAway(nc, ReasonConnectionsPerAddress, perAddress,
				fmt.Sprintf("refship: %s open, as many as it may have: close one, or %s",
					text.Plural(perAddress, "connection from your address is", "connections from your address are"),
					t.cfg.AskOperator(ReasonConnectionsPerAddress)))
			return nil
		}
	} else if network.strange >= max(1, strangers/2) {
		t.drop(t.books.leastOf(func(o origin) bool { return o.network == from.network }))
	}
	if (t.books.all.all >= inAll || t.books.all.strange >= strangers) && !t.drop(t.books.leastOfCrowd()) {
		t.turnAway(nc, ReasonConnections, inAll,
			fmt.Sprintf("refship: %s open, as many as this server takes: try again later",
				text.Plural(inAll, "connection is", "connections are")))
		return nil
	}
	c := t.newConn(nc, from)
	t.books.enter(c)
	return c
}

// drop closes a connection that has not authenticated, for the sake of another; false if there is none. The caller
// holds t.mu.
func (t *Table) drop(c *Conn) bool {
	if c == nil {
		return false
	}
	c.dropped = true
	t.books.leave(c)
	t.count.Dropped++
	if more, ok := t.dropped.Next(); ok {
		t.cfg.Log.Warn("connection dropped that has not logged in: another one took its place",
			"address", c.RemoteAddr().String(), "without_login", t.books.all.strange, "connections", t.books.all.all,
			"also_dropped", more)
	}
	_ = c.Close()
	return true
}
