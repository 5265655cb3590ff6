package conns

import (
	"log/slog"
	"sync"
	"time"

	"refship/deploy/fault"
)

// Reasons for what the log tells, and of the second what clients are told.
const (
	ReasonConnections           fault.Reason = "connections-limit"
	ReasonConnectionsPerAddress fault.Reason = "connections-per-address-limit"
)

// MaxSessions is how many sessions one connection may have at a time.
const MaxSessions = 10

// Limits bound the connections.
type Limits struct {
	Connections int           // at a time, in all
	PerAddress  int           // at a time, from one IPv4 address or one IPv6 network of 64 bits
	LoginGrace  time.Duration // from the connection's beginning until a key has authenticated
	AskAfter    time.Duration // how long a client that has authenticated may be silent before it is asked
}

// Config is what a Table needs.
type Config struct {
	Limits
	Log         *slog.Logger
	Remedy      func(fault.Reason) string // for the log
	AskOperator func(fault.Reason) string // the same, for a client: "ask the server's operator to …"
}

// Table has a server's connections.
type Table struct {
	cfg       Config
	farewells chan struct{}  // one for each client that is being turned away
	others    sync.WaitGroup // farewells, and questions to silent clients

	turnedAway, dropped Flood

	mu    sync.Mutex
	books books
	count Count // what books do not count
}

// New makes a table without a connection.
func New(cfg Config) *Table {
	return &Table{cfg: cfg, farewells: make(chan struct{}, maxFarewells), books: newBooks()}
}

// Count is how many connections there are and were.
type Count struct {
	All          int // authenticated or not
	WithoutLogin int // of them
	Dropped      int // that were closed for another, since the start
	TurnedAway   int // that were not taken, since the start
}

// Count counts the connections of this moment.
func (t *Table) Count() Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.count
	n.All, n.WithoutLogin = t.books.all.all, t.books.all.strange
	return n
}

// CloseIdle closes the connections without a session, and tells how many sessions the others have.
func (t *Table) CloseIdle() (sessions int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.books.conns {
		sessions += c.sessions
		if c.sessions == 0 {
			_ = c.Close()
		}
	}
	return sessions
}

// CloseAll closes all connections.
func (t *Table) CloseAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.books.conns {
		_ = c.Close()
	}
}

// Wait returns when nothing of the table runs any more. All connections that came in have ended before, and no more
// come.
func (t *Table) Wait() { t.others.Wait() }
