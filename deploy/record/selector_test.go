package record_test

import (
	"testing"

	"refship/deploy/record"
)

func TestSelector(t *testing.T) {
	for given, want := range map[string]record.ID{"7": 7, "head": 9, "head~1": 8, "head~8": 1, "12": 12} {
		s, err := record.ParseSelector(given)
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		if got, err := s.Of(9); err != nil || got != want || s.String() != given {
			t.Errorf("%s is %d, %q, %v, want %d", given, got, s, err, want)
		}
	}
	for _, bad := range []string{"", "0", "-1", "head~", "head~0", "head~-1", "head1", "Head", "head~x", "07", "1 "} {
		if s, err := record.ParseSelector(bad); err == nil {
			t.Errorf("%q is %v", bad, s)
		}
	}
	s, err := record.ParseSelector("head~9")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := s.Of(9); err == nil {
		t.Errorf("there is a deploy %d", id)
	}
}
