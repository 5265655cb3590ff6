package tree_test

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"refship/deploy/fixture"
	"refship/deploy/tree"
)

func TestOIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.StringMatching(`[0-9a-f]{39}[1-9a-f]([0-9a-f]{24})?`).Draw(t, "digits")
		oid := fixture.OID(digits)
		if oid.String() != digits || oid.IsZero() || len(oid.Bytes()) != len(digits)/2 || oid != fixture.OID(digits) {
			t.Errorf("%q became %s with %d bytes", digits, oid, len(oid.Bytes()))
		}
		text, err := json.Marshal(map[tree.OID]tree.OID{oid: oid})
		if want := `{"` + digits + `":"` + digits + `"}`; string(text) != want || err != nil {
			t.Errorf("as JSON it is %s, %v, want %s", text, err, want)
		}
		var again map[tree.OID]tree.OID
		if err := json.Unmarshal(text, &again); err != nil || again[oid] != oid {
			t.Errorf("%s became %v, %v", text, again, err)
		}
	})
}

// An oid of SHA-256 that ends with zeros is not that of SHA-1.
func TestOIDsOfTwoKindsDiffer(t *testing.T) {
	if a, b := fixture.OID(oidA), fixture.OID(oidA+strings.Repeat("0", 24)); a == b || a.String() == b.String() {
		t.Errorf("%s and %s are the same", a, b)
	}
}

func TestZeroOID(t *testing.T) {
	zeros := strings.Repeat("0", 40)
	for _, digits := range []string{zeros, strings.Repeat("0", 64)} {
		if oid := fixture.OID(digits); oid != (tree.OID{}) || !oid.IsZero() || oid.String() != zeros {
			t.Errorf("%q became %s", digits, oid)
		}
	}
}

func TestParseOIDRefuses(t *testing.T) {
	for _, digits := range []string{
		"", "0", oidA[:39], oidA + "0", oidA + oidA[:20], oidA + oidA[:23], oidA + oidA[:25], oidA + oidA,
		strings.ToUpper(oidA), oidA[:39] + "g", " " + oidA[:39], oidA[:39] + "\n", oidA[:38] + "é",
	} {
		oid, err := tree.ParseOID(digits)
		if err == nil || !oid.IsZero() || !strings.Contains(err.Error(), "40 or 64 lower-case hex digits") {
			t.Errorf("%q became %s, %v", digits, oid, err)
		}
		if err := json.Unmarshal([]byte(`"x"`), &oid); err == nil {
			t.Error("JSON takes x for an oid")
		}
	}
}
