package text

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"site", "site:staging", "docs", "config"}
	for typed, want := range map[string]string{
		"siet": "", "sit": "site", "sites": "site", "site:stagin": "site:staging", "site:stging": "site:staging",
		"cofnig": "config", "doc": "docs", "dcos": "", "x": "", "": "", "nothing": "", "site": "site",
	} {
		if got := Nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
