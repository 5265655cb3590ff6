package etcd

// HardStop ends the server as an inner failure would.
func (e *Embedded) HardStop() { e.etcd.Server.HardStop() }

// What tests check the bounds by.
const (
	RequestTimeout = requestTimeout
	InFlight       = inFlight
)
