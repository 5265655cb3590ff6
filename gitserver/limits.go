package gitserver

import (
	"cmp"
	"time"

	"refship/gitserver/conns"
)

// Limits bound what clients can take. A zero field has the default that is said here.
type Limits struct {
	Connections           int           // at a time, in all: 1,000. See package conns for those without a login
	ConnectionsPerAddress int           // at a time, from one IPv4 address or one IPv6 network of 64 bits: 100
	LoginGrace            time.Duration // from the connection's beginning until a key has authenticated: 1 min
	MaxPack               int64         // bytes of one push's pack: 1 GiB
	GitMemory             int64         // bytes that all git processes may take together: DefaultGitMemory
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Connections:           cmp.Or(l.Connections, 1000),
		ConnectionsPerAddress: cmp.Or(l.ConnectionsPerAddress, 100),
		LoginGrace:            cmp.Or(l.LoginGrace, time.Minute),
		MaxPack:               cmp.Or(l.MaxPack, 1<<30),
		GitMemory:             cmp.Or(l.GitMemory, DefaultGitMemory()),
	}
}

// floods has one for each kind of line in the log that outsiders can cause.
type floods struct{ notAccepted, lateLogins, refusedKeys, handshakes conns.Flood }
