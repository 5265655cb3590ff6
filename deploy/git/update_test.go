package git

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseUpdates(t *testing.T) {
	got, err := ParseUpdates([]byte(firstOID + " " + secondOID + " refs/heads/main\n" + zeroOID + " " + firstOID +
		" refs/tags/v1\n"))
	a, _ := ParseOID(firstOID)
	b, _ := ParseOID(secondOID)
	want := []RefUpdate{{Ref: "refs/heads/main", Old: a, New: b}, {Ref: "refs/tags/v1", New: a}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(OID{})); diff != "" || err != nil {
		t.Errorf("updates (-want +got), %v:\n%s", err, diff)
	}
	for name, c := range map[string]struct{ input, says string }{
		"nothing":     {"", "there are none"},
		"no line end": {firstOID + " " + secondOID + " refs/heads/main", "has no end"},
		"empty line":  {"\n", "not <old> <new> <ref>"},
		"two fields":  {firstOID + " " + secondOID + "\n", "not <old> <new> <ref>"},
		"upper case": {strings.ToUpper(firstOID) + " " + secondOID + " refs/heads/main\n",
			"not 40 or 64 lower-case hex digits"},
		"short oid": {firstOID[:39] + " " + secondOID + " refs/heads/main\n",
			"not 40 or 64 lower-case hex digits"},
		"60 digits": {firstOID + firstOID[:20] + " " + secondOID + " refs/heads/main\n",
			"not 40 or 64 lower-case hex digits"},
		"two spaces":     {firstOID + "  " + secondOID + " refs/heads/main\n", "not 40 or 64 lower-case hex digits"},
		"short ref":      {firstOID + " " + secondOID + " main\n", `ref name "main"`},
		"refs alone":     {firstOID + " " + secondOID + " refs/stash\n", "ref name"},
		"HEAD":           {firstOID + " " + secondOID + " HEAD\n", "ref name"},
		"dots":           {firstOID + " " + secondOID + " refs/heads/../x\n", "ref name"},
		"lock":           {firstOID + " " + secondOID + " refs/heads/x.lock\n", "ref name"},
		"space":          {firstOID + " " + secondOID + " refs/heads/x y\n", "ref name"},
		"NUL":            {firstOID + " " + secondOID + " refs/heads/x\x00\n", "ref name"},
		"carriage":       {firstOID + " " + secondOID + " refs/heads/x\r\n", "ref name"},
		"the same twice": {strings.Repeat(firstOID+" "+secondOID+" refs/heads/main\n", 2), "comes twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseUpdates([]byte(c.input)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("updates are %v, error is %v, want %q", got, err, c.says)
			}
		})
	}
}

const zeroOID = "0000000000000000000000000000000000000000"

// What is accepted is exactly what writing it again gives.
func FuzzParseUpdates(f *testing.F) {
	f.Add([]byte(firstOID + " " + secondOID + " refs/heads/main\n"))
	f.Add([]byte(zeroOID + " " + secondOID + " refs/heads/a/b\n" + firstOID + " " + zeroOID + " refs/tags/v1\n"))
	f.Add([]byte(strings.Repeat("0", 64) + " " + firstOID + secondOID[:24] + " refs/heads/main\n"))
	f.Add([]byte(firstOID + " " + secondOID + " refs/heads/\xff\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		updates, err := ParseUpdates(input)
		if err != nil {
			if updates != nil {
				t.Errorf("updates with an error: %v", updates)
			}
			return
		}
		var again bytes.Buffer
		for _, u := range updates {
			fmt.Fprintf(&again, "%s %s %s\n", u.Old, u.New, u.Ref)
		}
		input = bytes.ReplaceAll(input, []byte(strings.Repeat("0", 64)+" "), []byte(zeroOID+" "))
		if !bytes.Equal(again.Bytes(), input) {
			t.Errorf("read %q, would write %q", input, again.Bytes())
		}
	})
}

const (
	firstOID  = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
	secondOID = "5d6e7f80a1b2c3d4e5f60718293a4b5c6d7e8f90"
)
