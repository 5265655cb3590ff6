package hooks

import "time"

// SetLockWait shortens how long pushes wait for chain locks.
func (s *Server) SetLockWait(d time.Duration) { s.lockWait = d }
