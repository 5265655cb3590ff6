package deploy

// What the tests of the package deploy_test look into.
var (
	Fits        = checkSpace
	LockedError = lockedError
)

// Need is how much of etcd's space a deploy takes.
func (p *Prepared) Need() int64 { return p.need() }

// KeptLeases is how many leases a Store remembers.
const KeptLeases = keptLeases

// Leases tells how many a Store remembers.
func (s *Store) Leases() int {
	s.locker.mu.Lock()
	defer s.locker.mu.Unlock()
	return len(s.locker.leases)
}
