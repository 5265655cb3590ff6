package deploy

import "weak"

// What the tests of the package deploy_test look into.
var (
	Fits        = checkSpace
	LockedError = lockedError
)

// MaxListed is how many changes a Prepared lists.
const MaxListed = maxListed

// Contents gives what a Prepared keeps of file contents and git objects, without keeping it itself.
func (p *Prepared) Contents() []weak.Pointer[byte] {
	var all []weak.Pointer[byte]
	for _, c := range p.contents {
		if len(c.kept) > 0 {
			all = append(all, weak.Make(&c.kept[0]))
		}
	}
	for _, raw := range p.objects {
		all = append(all, weak.Make(&raw[0]))
	}
	return all
}

// KeptLeases is how many leases a Store remembers.
const KeptLeases = keptLeases

// Leases tells how many a Store remembers.
func (s *Store) Leases() int {
	s.locker.mu.Lock()
	defer s.locker.mu.Unlock()
	return len(s.locker.leases)
}
