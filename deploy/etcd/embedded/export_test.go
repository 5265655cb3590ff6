package embedded

// HardStop ends the server as an inner failure would.
func (e *Etcd) HardStop() { e.etcd.Server.HardStop() }

// Fail makes etcd fail, as an error that it cannot go on after does.
func (e *Etcd) Fail(err error) { e.calls.fail(err) }

// StartLimit is startLimit.
var StartLimit = startLimit

// DefragLimit is etcd's variable, and UnboundedDefragLimit its value before the first Start.
var (
	DefragLimit          = &defragLimit
	UnboundedDefragLimit = defragLimit
)
