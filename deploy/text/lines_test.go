package text_test

import (
	"strings"
	"testing"

	"refship/deploy/text"
)

func TestCompareLines(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"a\n", "a\n", ""},
		{"", "a\n", "@@ -0,0 +1 @@\n+a\n"},
		{"a\n", "b", "@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n"},
		{"--- a\n", "+++ b\n", "@@ -1 +1 @@\n---- a\n++++ b\n"},
	} {
		hunks, added, deleted := text.CompareLines([]byte(c.old), []byte(c.new))
		if string(hunks) != c.want || added != strings.Count(c.want, "\n+") || deleted != strings.Count(c.want, "\n-") {
			t.Errorf("%q, %q: %q, %d added, %d deleted", c.old, c.new, hunks, added, deleted)
		}
	}
}

func TestIsBinary(t *testing.T) {
	long := strings.Repeat("x", 8000)
	for content, want := range map[string]bool{
		"": false, "text\xff": false, "a\x00": true, long + "\x00": false, long[1:] + "\x00": true,
	} {
		if is := text.IsBinary([]byte(content)); is != want {
			t.Errorf("%.10q…: %v", content, is)
		}
	}
}
