package hooks

import (
	"context"
	"time"

	"refship/deploy"
	"refship/hooks/notes"
	"refship/hooks/target"
)

// Note brings a repository's notes (package notes) up to its chains; with anew it makes all of them again.
func (e *Engine) Note(ctx context.Context, gitDir string, anew bool) (notes.Result, error) {
	targets, err := target.ReadTargets(gitDir)
	if err != nil {
		return notes.Result{}, err
	}
	var chains []*deploy.Chain
	for _, ns := range target.Namespaces(targets) {
		chains = append(chains, e.cfg.Store.Chain(ns))
	}
	return notes.Update(ctx, gitDir, chains, anew)
}

// noteDelay is how long RunNotes waits after it was asked: one commit of notes is for all pushes in that time, and the
// git that writes it is seldom in the way of the next push.
const noteDelay = time.Second

// NoteLater has RunNotes bring a repository's notes up to its chains. It is called when the user has the answer:
// notes are in nobody's way.
func (s *Server) NoteLater(gitDir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unnoted[gitDir] = true
	select {
	case s.noting <- struct{}{}:
	default: // it is known that there is something
	}
}

// RunNotes writes notes, one repository at a time, until ctx ends. What it leaves is noted with the next deploy, or by
// the next server.
func (s *Server) RunNotes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.noting:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(noteDelay):
		}
		for dir := range s.takeUnnoted() {
			if ctx.Err() != nil {
				return nil
			}
			result, err := s.Note(ctx, dir, false)
			if err != nil && ctx.Err() == nil {
				s.cfg.Log.WarnContext(ctx, "write notes", "repository", dir, "error", err)
			}
			if result.Commits > 0 {
				s.step(ctx, "noted")
			}
		}
	}
}

// takeUnnoted takes all repositories that wait for their notes.
func (s *Server) takeUnnoted() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.unnoted
	s.unnoted = map[string]bool{}
	return all
}
