package gitserver

import (
	"fmt"
	"net"
	"testing"

	"refship/deploy/fixture"
)

// twentyHosts is where many connections come from: each host is in a network of its own, unless near.
func twentyHosts(near bool) func(i int) net.IP {
	return func(i int) net.IP {
		if near {
			return net.IPv4(127, 2, 0, byte(1+i%20))
		}
		return net.IPv4(127, 2, byte(1+i%20), 1)
	}
}

func silent(t *testing.T, addr string, n int, from func(int) net.IP) []net.Conn {
	t.Helper()
	conns, err := fixture.Silent(addr, n, from)
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return conns
}

// TestSilentConnections: connections that never log in, more than the server takes and from many addresses, keep nobody
// out: not those who have logged in, and not those who come after them, from elsewhere or from one of their addresses.
func TestSilentConnections(t *testing.T) {
	for _, near := range []bool{false, true} {
		t.Run(fmt.Sprint("near=", near), func(t *testing.T) {
			e := start(t, func(s *Server) {
				s.cfg.Limits = Limits{Connections: 100, ConnectionsPerAddress: 10}.withDefaults()
			})
			e.repo("config")
			laptop := e.user("laptop", "deploy:config")
			c := e.dial(laptop)
			work := e.work()
			silent(t, e.addr, 400, twentyHosts(near))
			most := 50
			if near {
				most = 25 // of one network
			}
			until(t, "all silent ones", func() bool { return e.srv.Stats().Dropped >= 400-most })
			if n := e.srv.Stats(); n.WithoutLogin > most || n.Connections != n.WithoutLogin+1 || n.TurnedAway != 0 {
				t.Errorf("got %+v", n)
			}
			e.deployed(e.git(laptop, work, "push", e.url("config"), "main"), 1)
			address := "127.2.1.1"
			if near {
				address = "127.2.0.1"
			}
			e.ssh(laptop, "-b", address, "git@127.0.0.1", "repos").want(t, 0)
			e.exec(c, "repos").want(t, 0)
			e.stop()
			dropped := e.log.About("connection dropped that has not logged in: another one took its place")
			if n := len(dropped); n == 0 || n > 40 {
				t.Errorf("%d lines in the log", n)
			}
			if n := e.srv.Stats(); n.Connections != 0 || n.WithoutLogin != 0 {
				t.Errorf("left: %+v", n)
			}
		})
	}
}

// TestPlacesOfUsers: where all places are of clients that have logged in, a new one is turned away, and none of theirs
// is given to it.
func TestPlacesOfUsers(t *testing.T) {
	e := start(t, func(s *Server) { s.cfg.Limits.Connections = 4 })
	laptop := e.user("laptop", "deploy:config")
	first := e.dial(laptop)
	for range 3 {
		e.dial(laptop)
	}
	if c, err := e.tryDial(laptop); err == nil {
		c.Close()
		t.Error("a fifth connection was taken")
	}
	e.exec(first, "repos").want(t, 0)
	if n := e.srv.Stats(); n.Connections != 4 || n.WithoutLogin != 0 || n.Dropped != 0 || n.TurnedAway != 1 {
		t.Errorf("got %+v", n)
	}
}
