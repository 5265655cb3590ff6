package gitserver

import "context"

// upkeepKey stands for the server itself beside the keys of users.
const upkeepKey = "upkeep"

// upkeepMemory waits for as much memory as a fetch of all of a repository takes: what repacks it is the same program.
func (s *Server) upkeepMemory(ctx context.Context, dir string) (limit int64, release func(), err error) {
	limit = min(s.fetchNeeds(dir), s.fetches.Size())
	t := s.fetches.Request(upkeepKey, limit)
	if err := t.Wait(ctx, func(string) {}); err != nil {
		t.GiveBack()
		return 0, nil, err
	}
	return limit, t.GiveBack, nil
}

// keepAll has all repositories looked at, once: one may have got its packs from an older refship, or from a copy, and
// get no push for a long time.
func (s *Server) keepAll() {
	names, err := s.cfg.Repos.Names()
	if err != nil {
		s.log.Error("repositories cannot be listed for their upkeep", "error", err)
	}
	for _, name := range names {
		if dir, err := s.cfg.Repos.Locate(name); err == nil { // else it was removed
			s.keeper.Later(name, dir)
		}
	}
}
