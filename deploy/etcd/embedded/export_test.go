package embedded

// HardStop ends the server as an inner failure would.
func (e *Etcd) HardStop() { e.etcd.Server.HardStop() }
