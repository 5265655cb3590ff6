package keys

import (
	"strings"
	"testing"
	"time"
)

func TestMatchList(t *testing.T) {
	long := strings.Repeat("*", maxPattern+1)
	for _, c := range []struct {
		list string
		want bool
	}{
		{"refship", true}, {"*", true}, {"ref*", true}, {"*ship", true}, {"r*s*p", true}, {"???????", true},
		{"**?***", true}, {"refship*", true}, {"git,refship", true}, {"refship,", true}, {",refship", true},
		{"!git,refship", true}, {"!git,*", true}, {long[1:], true}, {"refship," + long[1:], true},
		{"", false}, {",", false}, {"refshi", false}, {"refship?", false}, {"efship", false}, {"Refship", false},
		{"??????", false}, {"git", false}, {"!git", false}, {"!refship", false}, {"*,!refship", false},
		{"!ref*,refship", false}, {"!", false}, {"!!refship", false}, {" refship", false},
		{long, false}, {"refship," + long, false}, {long + ",refship", false},
	} {
		if got := matchList("refship", c.list); got != c.want {
			t.Errorf("%.40q matches: %v, want %v", c.list, got, c.want)
		}
	}
}

// TestPatternsTakeNoTime: OpenSSH's own way would take longer than anybody waits.
func TestPatternsTakeNoTime(t *testing.T) {
	start := time.Now()
	if matchPattern(strings.Repeat("a", 1000), strings.Repeat("*a", 500)+"b") {
		t.Error("it matches")
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}
