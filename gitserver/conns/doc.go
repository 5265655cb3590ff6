// Package conns has the connections of an SSH server: which are taken, which make room for others, and which have ended
// without a word. It knows nothing of users and sessions but their number.
//
// # Words
//
// A connection has a login once a key has authenticated on it. Its origin is what it is counted by: an address and a
// network. A table has all connections, and in its books how many there are of each origin.
//
// # A connection
//
//	table.Enter(net.Conn)          takes it in, or turns it away (logins.go, farewell.go)
//	conn.SetLogin(…)               client and server have agreed on keys
//	conn.SetAuthenticated(…)       it has a login: it keeps its place, and is asked when it is silent (keepalive.go)
//	conn.OpenSession, CloseSession
//	conn.End()                     it is closed
//
// Connections without a login have limits of their own and keep no other client out: logins.go says which of them goes
// first. A client that is turned away reads why, as SSH's own message of disconnection; one whose time for the login is
// over reads so, too.
//
// A [Flood] keeps what outsiders can cause from filling the log.
//
// # Concurrency
//
// Everything here may be used by many goroutines. [Table.Wait] returns when none of the table's own is left.
package conns
