package notes

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/record"
)

// TestMerge: however the lines of a note came, in parts, again, or all at once, they are the same text.
func TestMerge(t *testing.T) {
	t.Parallel()
	said := []string{
		"deploy 2 of /refship/a: 2026-11-29T18:20:11Z by laptop, push",
		"deploy 2 of /refship/a: replaced 2026-11-29T18:20:12Z by deploy 3, 1a2b3c4, by ops, rollback to 1: why: that",
		"deploy 10 of /refship/a: by another writer",
		"deploy 1 of /refship/b: 2026-11-29T18:20:11Z by laptop, push, forced: deploy 7 of /refship/a: broke",
	}
	rapid.Check(t, func(t *rapid.T) {
		note := ""
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			var some []line
			for _, i := range rapid.SliceOf(rapid.IntRange(0, len(said)-1)).Draw(t, "lines") {
				some = append(some, parseLine(said[i]))
			}
			note = merge(note, some)
		}
		var all []line
		for _, s := range rapid.Permutation(said).Draw(t, "all") {
			all = append(all, parseLine(s))
		}
		if got, want := merge(note, all), strings.Join(said, "\n")+"\n"; got != want {
			t.Errorf("got\n%s", got)
		}
	})
	if got := merge("what somebody wrote\n", []line{parseLine(said[0])}); got != "what somebody wrote\n"+said[0]+"\n" {
		t.Errorf("got\n%s", got)
	}
}

// TestParseMessage: what is no line about a chain is left out.
func TestParseMessage(t *testing.T) {
	t.Parallel()
	got := parseMessage("Deploys of each chain up to\n\n/refship/a 7\n/_mgmt 12\n/refship/b x\nnothing\n/refship/c\n/refship/d 0\n")
	if len(got) != 2 || got["/refship/a"] != 7 || got[record.MgmtNamespace] != 12 {
		t.Errorf("got %v", got)
	}
}
