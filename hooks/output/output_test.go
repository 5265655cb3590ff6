package output_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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
