package notify_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"refship/deploy/record"
	"refship/hooks/notify"
	"refship/hooks/report"
	"refship/hooks/target"
)

// What a pusher writes calls no channel, and makes no link, in a chat.
func TestSlack(t *testing.T) {
	t.Parallel()
	body, err := notify.SlackBody(&notify.Event{
		Kind: notify.NodesFailed, Text: "<!channel> & <http://evil|click>\x1b", Nodes: &notify.Nodes{
			Failed: []notify.Node{{Name: "n1", Reason: "<@U1>"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := "*nodes-failed* &lt;!channel&gt; &amp; &lt;http://evil|click&gt;\\x1b\n• n1: &lt;@U1&gt;"
	if len(got) != 1 || got["text"] != want {
		t.Errorf("body is %q, want text %q", got, want)
	}
}

// Whatever somebody wrote, a body is small, is JSON, and is UTF-8.
func FuzzBodies(f *testing.F) {
	f.Add("reason", "name")
	f.Add(strings.Repeat("<\xff\n", 10_000), strings.Repeat("\x00", 10_000))
	f.Fuzz(func(t *testing.T, reason, name string) {
		at := notify.Place{Repository: "site", Target: target.Target{Name: "default", Namespace: "/refship/site"}}
		e := notify.RefusedEvent(at, &report.Refusal{Who: record.Pusher{Name: name}, Err: errors.New(reason)})
		body, err := json.Marshal(e)
		if err != nil || len(body) > 40_000 {
			t.Fatalf("%d bytes, %v", len(body), err)
		}
		slack, err := notify.SlackBody(e)
		if err != nil || len(slack) > 20_000 || !utf8.Valid(slack) || !json.Valid(slack) {
			t.Fatalf("%d bytes, %v", len(slack), err)
		}
	})
}
