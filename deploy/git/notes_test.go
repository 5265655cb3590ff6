package git_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"refship/deploy/fixture"
	"refship/deploy/git"
	"refship/deploy/tree"
)

// TestNotes: what is written is what git itself shows, for so many commits that git spreads them over directories; and
// who writes on top of what is not the newest any more fails.
func TestNotes(t *testing.T) {
	t.Parallel()
	repo := fixture.NewRepository(t)
	commits := repo.Line("main", 600, tree.OID{})
	n, err := git.ReadNotes(t.Context(), repo.Dir)
	if err != nil || n.Message != "" {
		t.Fatalf("without notes: %+v, %v", n, err)
	}
	all := map[git.OID]string{}
	for i, c := range commits {
		all[c] = fmt.Sprintf("note %d\nof \"two\" lines\n", i)
	}
	change := &git.NotesChange{Message: "one\n\n/a 600\n", Time: time.Unix(1_700_000_000, 0), Notes: all}
	if err := n.Write(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	again := &git.NotesChange{Message: "again", Time: change.Time, Notes: all}
	if err := n.Write(t.Context(), again); err == nil {
		t.Error("a second first commit of notes was written")
	}
	show := func(i int) string { return repo.Git("notes", "--ref=deploys", "show", commits[i].String()) }
	for _, i := range []int{0, 299, 599} {
		if got := strings.TrimSpace(show(i)); got != strings.TrimSpace(all[commits[i]]) {
			t.Errorf("note %d is %q", i, got)
		}
	}
	n, err = git.ReadNotes(t.Context(), repo.Dir)
	if err != nil || strings.TrimSpace(n.Message) != "one\n\n/a 600" {
		t.Fatalf("got %+v, %v", n, err)
	}
	blobs, err := n.List(t.Context())
	if err != nil || len(blobs) != len(commits) {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}

	// One more line at one commit leaves the others; and then only one is to be left.
	one := map[git.OID]string{commits[5]: "changed\n"}
	if err := n.Write(t.Context(), &git.NotesChange{Message: "two", Time: change.Time, Notes: one}); err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(show(5) + show(6)); !strings.HasPrefix(got, "changed") || !strings.Contains(got, "note 6") {
		t.Errorf("notes 5 and 6 are %q", got)
	}
	if err := n.Write(t.Context(), &git.NotesChange{Message: "late", Time: change.Time, Notes: one}); err == nil {
		t.Error("a change on top of what is not the newest was written")
	}
	if n, err = git.ReadNotes(t.Context(), repo.Dir); err != nil {
		t.Fatal(err)
	}
	err = n.Write(t.Context(), &git.NotesChange{Message: "three", Time: change.Time, Notes: one, All: true})
	if err != nil {
		t.Fatal(err)
	}
	if blobs, err = n.List(t.Context()); err != nil || len(blobs) != 1 || blobs[commits[5]].IsZero() {
		t.Errorf("left are %v, %v", blobs, err)
	}
	repo.Git("fsck", "--strict")
}
