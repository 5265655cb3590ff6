package hooks_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"refship/deploy/fixture"
)

// notesOn is the note on a commit, "" if it has none.
func (s *site) notesOn(commit string) string {
	s.Helper()
	return s.git(s.bare, "log", "-1", "--format=%N", "--notes=deploys", commit)
}

// TestNote: what pushes deploy is noted once, however often that is asked for, at the same time too; and when
// etcd was restored from an older backup, what it does not know any more is no longer noted.
func TestNote(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	laptop := s.user("laptop")
	if r, err := s.server.Note(t.Context(), s.bare, false); err != nil || r.Commits != 0 || s.git(s.bare, "for-each-ref") != "" {
		t.Fatalf("before the first push: %+v, %v", r, err)
	}
	first := s.commit("a", "1")
	laptop.push("main").published(t, 1)
	older := s.dump()
	second := s.commit("a", "2")
	laptop.push("main").published(t, 2)

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.server.Note(t.Context(), s.bare, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	one, two := s.notesOn(first), s.notesOn(second)
	if strings.Count(one, "deploy 1 of ") != 2 || !strings.Contains(one, "deploy 1 of /refship/config: replaced ") ||
		!strings.Contains(one, " by deploy 2, "+short(second)+", by laptop, push") ||
		strings.Count(two, "deploy 2 of ") != 1 || !strings.Contains(two, "deploy 2 of /refship/config: ") {
		t.Errorf("noted\n%s\n%s", one, two)
	}
	at := s.git(s.bare, "rev-parse", "refs/notes/deploys")
	if r, err := s.server.Note(t.Context(), s.bare, false); err != nil || r.Commits != 0 ||
		s.git(s.bare, "rev-parse", "refs/notes/deploys") != at {
		t.Errorf("a second time: %+v, %v", r, err)
	}
	if r, err := s.server.Note(t.Context(), s.bare, true); err != nil || r.Deploys != 2 || s.notesOn(first) != one ||
		s.notesOn(second) != two {
		t.Errorf("anew: %+v, %v", r, err)
	}

	for key := range s.dump() {
		if _, was := older[key]; !was {
			if _, err := s.client.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	for key, value := range older {
		if _, err := s.client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.server.Note(t.Context(), s.bare, false); err != nil || r.Deploys != 1 || s.notesOn(second) != "" ||
		strings.Contains(s.notesOn(first), "replaced") {
		t.Errorf("of an older etcd: %+v, %v, %q, %q", r, err, s.notesOn(first), s.notesOn(second))
	}
}

// TestRunNotes: what is asked for is noted, also what was asked for before, and nothing that is noted keeps the end.
func TestRunNotes(t *testing.T) {
	t.Parallel()
	s := newSite(t, defaultTarget)
	first := s.commit("a", "1")
	s.user("laptop").push("main").published(t, 1)
	if got := s.notesOn(first); got != "" {
		t.Errorf("before anybody asked, it is noted: %q", got)
	}
	asked := time.Now()
	s.server.NoteLater(s.bare)
	s.server.NoteLater(s.bare + "-that-is-not-there")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.server.RunNotes(ctx) }()
	fixture.Eventually(t, func() bool { return s.notesOn(first) != "" })
	if took := time.Since(asked); took < time.Second { // one commit of notes is for all pushes of a second
		t.Errorf("noted after %s", took)
	}
	fixture.Eventually(t, func() bool { return len(s.journal.About("write notes")) > 0 })
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
