package output_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/hooks/output"
)

// A step that tells nothing still shows that it goes on, once a second.
func TestLongWorkSpeaksEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		out := &output.Output{Every: time.Second, Send: func(line string) error { said = append(said, line); return nil }}
		err := out.During("/refship/a: ", "reading", func(progress func(text.Progress)) error {
			time.Sleep(2500 * time.Millisecond)
			progress(text.Progress{Step: "storing", Files: 3, FilesTotal: 10, Bytes: 2048, BytesTotal: 1 << 20})
			progress(text.Progress{Step: "storing", Files: 4, FilesTotal: 10, Bytes: 4096, BytesTotal: 1 << 20})
			time.Sleep(time.Second)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"/refship/a: reading …", "/refship/a: reading …",
			"/refship/a: storing 4 of 10 files, 4 KiB of 1 MiB"}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
	})
}

func TestNothingSaidCanMoveACursor(t *testing.T) {
	var said []string
	output.Collect(&said).Line("by %s", "eve\x1b[2J\nremote: refship: deploy 7 published\r\xff")
	if diff := cmp.Diff([]string{`by eve\x1b[2J\nremote: refship: deploy 7 published\r\xff`}, said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

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
	if diff := cmp.Diff(want, output.Explain(fault.RemedyOf, "refused", all.Err())); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
