package words_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/hooks/words"
)

func TestExplainTellsEachRefusalOnce(t *testing.T) {
	var all fault.Refusals
	all.Add(&fault.Error{Kind: fault.Refused, What: "a may not", Remedy: "ask"})
	all.Add(&fault.Error{Kind: fault.Refused, What: "a may not", Remedy: "ask"})
	all.Add(&fault.Error{Kind: fault.Refused, What: "b may not", Remedy: "ask"})
	head := &record.Deploy{ID: 8, Hash: "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"}
	all.Add(&deploy.ConflictError{Namespace: "/refship/config", Head: head, Why: "your x does not contain it",
		Remedy: "pull"})
	want := []string{
		"refused: a may not", "hint: ask",
		"refused: b may not",
		"refused: /refship/config is at deploy 8, 1a2b3c4, by another writer", "your x does not contain it", "hint: pull",
	}
	if diff := cmp.Diff(want, words.Explain(fault.RemedyOf, "refused", all.Err())); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
