package record_test

import (
	"strings"
	"testing"

	"refship/deploy/record"
)

func TestSelector(t *testing.T) {
	for given, want := range map[string]record.ID{"head": 9, "head~1": 8, "head~8": 1} {
		s, err := record.ParseSelector(given)
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		if got, err := s.Below(9); err != nil || got != want || s.String() != given || s.IsExact() {
			t.Errorf("%s is %d, %q, %v, want %d", given, got, s, err, want)
		}
	}
	oid := strings.Repeat("0123456789abcdef", 4)
	for given, want := range map[string]struct {
		number record.ID
		commit string
	}{
		"7": {7, ""}, "12": {12, ""}, "123456": {123456, ""}, "1234567": {1234567, "1234567"},
		"abcdef0": {0, "abcdef0"}, "0123456": {0, "0123456"}, oid[:40]: {0, oid[:40]}, oid: {0, oid},
	} {
		s, err := record.ParseSelector(given)
		if err != nil || s.Number() != want.number || s.Commit() != want.commit || s.String() != given || !s.IsExact() {
			t.Errorf("%s is %d, commit %q, %q, %v", given, s.Number(), s.Commit(), s, err)
		}
	}
	for _, bad := range []string{
		"", "0", "-1", "head~", "head~0", "head~-1", "head1", "Head", "head~x", "07", "1 ", "abcdef", "ABCDEF0", "abcdefg",
		oid + "0", "000000",
	} {
		if s, err := record.ParseSelector(bad); err == nil {
			t.Errorf("%q is %v", bad, s)
		}
	}
	s, err := record.ParseSelector("head~9")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := s.Below(9); err == nil {
		t.Errorf("there is a deploy %d", id)
	}
}
